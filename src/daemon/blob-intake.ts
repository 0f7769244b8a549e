import { closeSync } from 'node:fs';
import { BerthError } from '../errors/index.js';
import {
  BlobFault,
  digestOf,
  DOCUMENT_LIMIT,
  labelOf,
  type Blob,
  type BlobProgress,
  type Pull,
  type PullOrder,
} from '../image/index.js';
import { PipeFault, readPipe } from './pipes.js';
import { Slots } from './slots.js';

/** Blobs of one pull that are worked on at a time. */
const MOST_AT_A_TIME = 3;

/** How long, in milliseconds, a client may take to say that a blob failed which came damaged. */
const VERDICT_TIME = 10_000;

/** A blob that is wanted. */
interface Wanted {
  readonly blob: Blob;
  stored: boolean;
  /** As the client says. */
  received: number;
  /** The sending under way. */
  attempt: AbortController | undefined;
  /** The client has said that it has sent all. */
  whole: boolean;
  /** What is wrong with what came; the client may say yet that it was cut short. */
  fault: BerthError | undefined;
  verdict: NodeJS.Timeout | undefined;
}

/** Takes in the blobs of one pull as its client sends them. */
export class BlobIntake {
  readonly #wanted: ReadonlyMap<string, Wanted>;
  readonly #slots = new Slots(MOST_AT_A_TIME);
  readonly #stopped = new AbortController();
  readonly #work = new Set<Promise<void>>();
  readonly #done: Promise<void>;
  #resolve: () => void = () => undefined;
  #reject: (error: unknown) => void = () => undefined;

  constructor(
    private readonly order: PullOrder,
    private readonly pull: Pull,
    wanted: readonly Blob[],
    private readonly stored: (digest: string) => void,
  ) {
    this.#wanted = new Map(wanted.map((blob) => [blob.digest, fresh(blob)]));
    this.#done = new Promise((resolve, reject) => {
      this.#resolve = resolve;
      this.#reject = reject;
    });
    this.#done.catch(() => undefined);
  }

  /**
   * Resolves when all blobs are stored.
   *
   * @throws BerthError what keeps one from being stored; whatever `signal` was aborted with.
   */
  async complete(signal: AbortSignal): Promise<void> {
    const abort = (): void => this.#reject(signal.reason);
    if (signal.aborted) abort();
    signal.addEventListener('abort', abort);
    try {
      await this.#done;
    } finally {
      signal.removeEventListener('abort', abort);
    }
  }

  /** Ends all that is under way; resolves when nothing is left of it. */
  async stop(): Promise<void> {
    this.#stopped.abort();
    for (const { verdict } of this.#wanted.values()) clearTimeout(verdict);
    await Promise.all(this.#work);
  }

  /**
   * The client sends a blob.
   *
   * @param take opens its pipe.
   */
  begin(digest: string, take: () => number): void {
    const wanted = this.#wanted.get(digest);
    if (!wanted || wanted.stored || wanted.attempt || wanted.fault) {
      this.#reject(outOfStep('a blob was sent that is not wanted, or not any more'));
      return;
    }
    try {
      const pipe = take();
      const attempt = new AbortController();
      wanted.attempt = attempt;
      wanted.whole = false;
      const work = this.#receive(wanted, pipe, attempt).finally(() => this.#work.delete(work));
      this.#work.add(work);
    } catch (error) {
      this.#reject(error instanceof PipeFault ? this.#failed(error.message) : error);
    }
  }

  /** The client has sent all of a blob, or could not. */
  end(digest: string, failed: boolean): void {
    const wanted = this.#wanted.get(digest);
    if (!wanted) {
      this.#reject(outOfStep('a blob was ended that is not wanted'));
      return;
    }
    // What is stored is right, whatever the client thinks.
    if (wanted.stored) return;
    if (!failed) {
      wanted.whole = true;
      if (wanted.fault) this.#reject(wanted.fault);
      return;
    }
    clearTimeout(wanted.verdict);
    wanted.attempt?.abort();
    wanted.attempt = undefined;
    wanted.fault = undefined;
    wanted.received = 0;
  }

  /** The client's word for how much of a blob it has received. */
  claim(digest: string, received: number): void {
    const wanted = this.#wanted.get(digest);
    if (wanted) wanted.received = Math.min(received, wanted.blob.size);
  }

  /** Of what is fetched: what was in the store before is no part of it, for those who wait as for who fetches. */
  progress(): BlobProgress[] {
    return [...this.#wanted.values()].map(({ blob: { digest, size }, stored, received }) => {
      return { digest, size, received: stored ? size : received, stored };
    });
  }

  async #receive(wanted: Wanted, pipe: number, attempt: AbortController): Promise<void> {
    const signal = AbortSignal.any([this.#stopped.signal, attempt.signal]);
    const release = await this.#slots.take(signal).catch(() => undefined);
    if (!release) {
      closeSync(pipe);
      return;
    }
    try {
      await this.#take(wanted.blob, pipe, signal);
      // Taken back in the last moment, it is stored all the same: what came is what its digest says.
      wanted.stored = true;
      clearTimeout(wanted.verdict);
      if (signal.aborted) return;
      this.stored(wanted.blob.digest);
      if ([...this.#wanted.values()].every(({ stored }) => stored)) this.#resolve();
    } catch (error) {
      if (!signal.aborted) this.#blame(wanted, error);
    } finally {
      release();
    }
  }

  async #take(blob: Blob, pipe: number, signal: AbortSignal): Promise<void> {
    if (signal.aborted) {
      closeSync(pipe);
      signal.throwIfAborted();
    }
    if (blob.digest !== this.order.manifest.config.digest) return this.pull.takeLayer(blob, pipe, signal);
    const bytes = await readPipe(pipe, DOCUMENT_LIMIT, signal).catch((error: unknown) => {
      if (!(error instanceof PipeFault)) throw error;
      throw new BlobFault(this.#failed(`its configuration could not be read: ${error.message}`));
    });
    const found = digestOf(bytes);
    if (found !== blob.digest) {
      const why = `${blob.digest} was announced, what came is ${found}`;
      const name = labelOf(this.order);
      throw new BlobFault(new BerthError('BERTH_PULL_DIGEST', { blob: 'the configuration', name, why }));
    }
    this.pull.takeConfig(bytes);
  }

  /** A blob that came damaged was perhaps cut short, which its client knows, and is about to say. */
  #blame(wanted: Wanted, error: unknown): void {
    if (!(error instanceof BlobFault)) {
      this.#reject(error);
      return;
    }
    wanted.attempt = undefined;
    wanted.fault = error.error;
    if (wanted.whole) this.#reject(error.error);
    else wanted.verdict = setTimeout(() => this.#reject(error.error), VERDICT_TIME);
  }

  #failed(why: string): BerthError {
    return new BerthError('BERTH_PULL_FAILED', { name: labelOf(this.order), why });
  }
}

function fresh(blob: Blob): Wanted {
  return {
    blob,
    stored: false,
    received: 0,
    attempt: undefined,
    whole: false,
    fault: undefined,
    verdict: undefined,
  };
}

function outOfStep(why: string): BerthError {
  return new BerthError('BERTH_PROTOCOL_FRAME', { why });
}
