import type { ChildProcess } from 'node:child_process';
import { hostname } from 'node:os';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Config } from '../config/index.js';
import { BerthError } from '../errors/index.js';
import { parseReference, type ImageStore, type Lease } from '../image/index.js';
import { describeProgress, parseProgress, type PullState } from './pull-progress.js';
import { SharedWork } from './shared-work.js';
import {
  berthCommand,
  collectMessages,
  endOf,
  endOnAbort,
  lastWords,
  spawnAs,
  tellRegularly,
  toldBy,
  type User,
  type Waiter,
} from './user-process.js';

/**
 * How often a node looks whether another one has pulled what both need, in milliseconds: that reads one small file. Every
 * so many times it also looks whether the other is still there, which asks more of the store's file system.
 */
const LOOK = 500;
const LOOKS_FOR_HOLDER = 4;

/** Longest line of progress, in characters: it has some 150 for each layer. */
const MOST_LINE = 65_536;

/** Whose pull, of what. */
export interface PullOrder extends User {
  /** As the user gave it, or what it was pinned to at submit. */
  readonly reference: string;
  readonly nodeName: string;
}

/** Somebody who needs the image. A pull goes on as long as anybody does. */
export type PullWaiter = Waiter;

/**
 * Pulls images that a launch needs and the store has not: `berth pull` in the user's name, once for all who wait. What it
 * may do is decided when it talks to berthd, as for any pull of that user.
 */
export class Puller {
  readonly #pulls = new SharedWork<void>();

  /**
   * @param socket berthd's own.
   * @param command what runs `berth`, with its arguments up to the command's name.
   */
  constructor(
    private readonly config: Config,
    private readonly store: ImageStore,
    private readonly socket: string,
    private readonly command: readonly string[] = berthCommand,
  ) {}

  /** Is it something that a registry can have, and may a launch pull here? */
  pulls(reference: string): boolean {
    const parsed = parseReference(reference);
    return this.config.store.pullAtLaunch && parsed.kind === 'name' && parsed.owner === undefined;
  }

  /**
   * Resolves when the image has been pulled.
   *
   * @throws RemoteError what `berth pull` told; BerthError BERTH_PULL_FAILED when it told nothing, took too long, or the
   * waiter is gone.
   */
  async pull(order: PullOrder, waiter: PullWaiter): Promise<void> {
    const { uid, reference } = order;
    await this.#pulls.join(
      `${uid} ${reference}`,
      uid,
      waiter,
      (waiters, stopped) => this.#run(order, waiters, stopped),
      {
        left: () => failed(reference, 'whoever waited for it is gone'),
        tooMany: (others) => failed(reference, `${others} other pulls of yours are under way on this node`),
      },
    );
  }

  async #run(order: PullOrder, waiters: ReadonlySet<PullWaiter>, stopped: AbortSignal): Promise<void> {
    const lease = await this.#turn(order, waiters, stopped);
    try {
      // Whoever had the turn before may have been done just now.
      if (lease && !(await this.#isThere(order))) await this.#command(order, waiters, stopped);
    } finally {
      await lease?.release();
    }
  }

  /** Waits until no other node with the same store pulls the same; undefined when one has brought it. */
  async #turn(order: PullOrder, waiters: ReadonlySet<PullWaiter>, stopped: AbortSignal): Promise<Lease | undefined> {
    const { turns } = this.store;
    const first = await turns.take(order);
    if (first) return first;
    let holder = '';
    const stopTelling = tellRegularly((inWords) => {
      for (const waiter of waiters) waiter.tell(inWords ? `${nameOf(order)}: ${holder} pulls it` : '');
    });
    const limit = AbortSignal.timeout(this.config.store.pullTimeout * 1000);
    try {
      for (let look = 0; ; look++) {
        if (await this.#isThere(order)) return undefined;
        if (look % LOOKS_FOR_HOLDER === 0) {
          const lease = await turns.take(order);
          if (lease) return lease;
          holder = (await turns.holder(order)) ?? holder;
        }
        await sleep(LOOK, undefined, { signal: AbortSignal.any([limit, stopped]) });
      }
    } catch (error) {
      if (!limit.aborted) throw error;
      throw tooLong(order.reference, this.config.store.pullTimeout);
    } finally {
      stopTelling();
    }
  }

  async #isThere({ reference, uid, gid, gids }: PullOrder): Promise<boolean> {
    try {
      await this.store.resolve(reference, uid, [gid, ...gids]);
      return true;
    } catch (error) {
      if (error instanceof BerthError && error.code === 'BERTH_IMAGE_UNKNOWN') return false;
      throw error;
    }
  }

  async #command(order: PullOrder, waiters: ReadonlySet<PullWaiter>, stopped: AbortSignal): Promise<void> {
    const { reference } = order;
    const argv = [...this.command, 'pull', '--progress=json', '--', reference];
    const child = await spawnAs(order, argv, ['ignore', 'pipe', 'pipe'], { BERTH_SOCKET: this.socket });
    const ended = endOf(child);
    const seconds = this.config.store.pullTimeout;
    const limit = AbortSignal.timeout(seconds * 1000);
    const stopEnding = endOnAbort(child, [limit, stopped]);
    const messages = collectMessages(child);
    const said = listen(child);
    const name = nameOf(order);
    const stopTelling = tellRegularly((inWords) => {
      const state = describeProgress(said.state);
      const text = state === '' ? name : `${name}: ${state}`;
      for (const waiter of waiters) waiter.tell(inWords ? text : '');
    });
    try {
      const status = await ended;
      if (limit.aborted) throw tooLong(reference, seconds);
      if (status === 0) return;
      const why = lastWords(messages()) ?? `berth pull ended with status ${status ?? 'unknown'}`;
      const told: Error | undefined = toldBy(messages(), status);
      throw told ?? failed(reference, why);
    } finally {
      stopTelling();
      stopEnding();
    }
  }
}

/** How far a pull has said it is. */
interface Said {
  state: PullState | undefined;
}

function listen(child: ChildProcess): Said {
  const said: Said = { state: undefined };
  let line = '';
  child.stdout?.setEncoding('utf8').on('data', (text: string) => {
    const lines = (line + text).split('\n');
    line = (lines.pop() ?? '').slice(0, MOST_LINE);
    for (const whole of lines) said.state = parseProgress(whole) ?? said.state;
  });
  return said;
}

function nameOf({ nodeName, reference }: PullOrder): string {
  return `${nodeName || hostname()}: pulling ${reference}`;
}

function tooLong(reference: string, seconds: number): BerthError {
  return failed(reference, `it took longer than ${seconds} s ([store] pull_timeout)`);
}

function failed(name: string, why: string): BerthError {
  return new BerthError('BERTH_PULL_FAILED', { name, why });
}
