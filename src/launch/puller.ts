import type { ChildProcess } from 'node:child_process';
import { hostname } from 'node:os';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Config } from '../config/index.js';
import { BerthError } from '../errors/index.js';
import { parseReference, type Holder, type ImageStore } from '../image/index.js';
import { describeProgress, parseProgress, type PullState } from './pull-progress.js';
import { SharedWork } from './shared-work.js';
import { waitForTurn, type Turn } from './turn.js';
import {
  berthCommand,
  collectMessages,
  endOf,
  endOnAbort,
  spawnAs,
  tellRegularly,
  toldBy,
  type User,
  type Waiter,
  wasKilled,
  whyEnded,
} from './user-process.js';

/** Longest line of progress, in characters: it has some 150 for each layer. */
const MOST_LINE = 65_536;

/** Milliseconds before a pull that was killed is begun again. */
const PAUSE = 1000;

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
    const said: Said = { state: undefined, wasKilled: false };
    const turn = await this.#turn(order, said, waiters, stopped);
    if (!('lease' in turn)) return;
    try {
      await this.#command(order, said, waiters, stopped);
    } finally {
      await turn.lease.release();
    }
  }

  /** Waits until no other node with the same store pulls the same, or one has brought it. */
  async #turn(
    order: PullOrder,
    said: Said,
    waiters: ReadonlySet<PullWaiter>,
    stopped: AbortSignal,
  ): Promise<Turn<true>> {
    const { uid, reference } = order;
    let holder: Holder | undefined;
    const stopTelling = tellRegularly((inWords) => {
      const parts = holder ? [`${holder.host} pulls it`, holder.words].filter((part) => part !== '') : [];
      const text = holder ? `${nameOf(order)}: ${parts.join(', ')}` : nameOf(order);
      for (const waiter of waiters) waiter.tell(inWords ? text : '');
    });
    const seconds = this.config.store.pullTimeout;
    const limit = AbortSignal.timeout(seconds * 1000);
    try {
      return await waitForTurn(
        this.store.turns,
        { uid, words: `pull of ${reference}` },
        {
          find: async () => ((await this.#isThere(order)) ? true : undefined),
          held: (found) => (holder = found),
          tells: () => describe(said),
          signal: AbortSignal.any([limit, stopped]),
        },
      );
    } catch (error) {
      throw limit.aborted ? tooLong(reference, seconds) : error;
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

  /** One that is killed is begun once more: what had arrived is in the store, and memory may have been short for a moment. */
  async #command(order: PullOrder, said: Said, waiters: ReadonlySet<PullWaiter>, stopped: AbortSignal): Promise<void> {
    const name = nameOf(order);
    const tell = (text: string): void => {
      for (const waiter of waiters) waiter.tell(text);
    };
    const stopTelling = tellRegularly((inWords) => {
      const state = describe(said);
      tell(inWords ? (state === '' ? name : `${name}: ${state}`) : '');
    });
    const limit = AbortSignal.timeout(this.config.store.pullTimeout * 1000);
    try {
      if (await this.#attempt(order, said, limit, stopped)) return;
      tell(`${name}: it was killed (is ${nodeOf(order)} short of memory?), and is begun once more`);
      said.state = undefined;
      said.wasKilled = true;
      await sleep(PAUSE, undefined, { signal: stopped });
      if (await this.#attempt(order, said, limit, stopped)) return;
      throw failed(order.reference, `berth pull was killed on ${nodeOf(order)}, twice: is that short of memory?`);
    } finally {
      stopTelling();
    }
  }

  /** Resolves with false when the process was killed, though it was still wanted. */
  async #attempt(order: PullOrder, said: Said, limit: AbortSignal, stopped: AbortSignal): Promise<boolean> {
    const { reference } = order;
    const argv = [...this.command, 'pull', '--progress=json', '--', reference];
    const child = await spawnAs(order, argv, ['ignore', 'pipe', 'pipe'], { BERTH_SOCKET: this.socket });
    const ended = endOf(child);
    const stopEnding = endOnAbort(child, [limit, stopped]);
    const messages = collectMessages(child);
    listen(child, said);
    try {
      const status = await ended;
      if (limit.aborted) throw tooLong(reference, this.config.store.pullTimeout);
      if (status === 0) return true;
      if (!stopped.aborted && wasKilled(child, messages())) return false;
      const why = whyEnded('berth pull', child, messages(), status);
      const told: Error | undefined = toldBy(messages(), status);
      throw told ?? failed(reference, why);
    } finally {
      stopEnding();
    }
  }
}

/** How far a pull has said it is. */
interface Said {
  state: PullState | undefined;
  /** It is the second one. */
  wasKilled: boolean;
}

/** Those who wait on other nodes hear nothing else of it. */
function describe({ state, wasKilled }: Said): string {
  const parts = [wasKilled ? 'begun once more after it was killed' : '', describeProgress(state)];
  return parts.filter((part) => part !== '').join(', ');
}

function listen(child: ChildProcess, said: Said): void {
  let line = '';
  child.stdout?.setEncoding('utf8').on('data', (text: string) => {
    const lines = (line + text).split('\n');
    line = (lines.pop() ?? '').slice(0, MOST_LINE);
    for (const whole of lines) said.state = parseProgress(whole) ?? said.state;
  });
}

function nodeOf({ nodeName }: PullOrder): string {
  return nodeName || hostname();
}

function nameOf(order: PullOrder): string {
  return `${nodeOf(order)}: pulling ${order.reference}`;
}

function tooLong(reference: string, seconds: number): BerthError {
  return failed(reference, `it took longer than ${seconds} s ([store] pull_timeout)`);
}

function failed(name: string, why: string): BerthError {
  return new BerthError('BERTH_PULL_FAILED', { name, why });
}
