import type { ChildProcess } from 'node:child_process';
import { hostname } from 'node:os';
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
  lastWords,
  spawnAs,
  tellRegularly,
  toldBy,
  type User,
  type Waiter,
} from './user-process.js';

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
    const said: Said = { state: undefined };
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
          tells: () => describeProgress(said.state),
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

  async #command(order: PullOrder, said: Said, waiters: ReadonlySet<PullWaiter>, stopped: AbortSignal): Promise<void> {
    const { reference } = order;
    const argv = [...this.command, 'pull', '--progress=json', '--', reference];
    const child = await spawnAs(order, argv, ['ignore', 'pipe', 'pipe'], { BERTH_SOCKET: this.socket });
    const ended = endOf(child);
    const seconds = this.config.store.pullTimeout;
    const limit = AbortSignal.timeout(seconds * 1000);
    const stopEnding = endOnAbort(child, [limit, stopped]);
    const messages = collectMessages(child);
    listen(child, said);
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

function listen(child: ChildProcess, said: Said): void {
  let line = '';
  child.stdout?.setEncoding('utf8').on('data', (text: string) => {
    const lines = (line + text).split('\n');
    line = (lines.pop() ?? '').slice(0, MOST_LINE);
    for (const whole of lines) said.state = parseProgress(whole) ?? said.state;
  });
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
