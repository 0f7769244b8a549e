import { spawn, type ChildProcess } from 'node:child_process';
import { existsSync } from 'node:fs';
import { hostname } from 'node:os';
import { dirname, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import type { Config } from '../config/index.js';
import { BerthError, RemoteError } from '../errors/index.js';
import { parseReference } from '../image/index.js';
import { native } from '../native/index.js';
import { describeProgress, parseProgress, type PullState } from './pull-progress.js';

const here = dirname(fileURLToPath(import.meta.url));

/** The command line: beside the bundled daemon, or where the build puts it as seen from the sources. */
const places = [join(here, 'cli.js'), join(here, '..', '..', 'build', 'lib', 'cli.js')];
const commandScript = places.find((place) => existsSync(place)) ?? join(here, 'cli.js');

/** A user's pulls on one node at a time: each takes processors and memory that other jobs may have. */
const MOST_PER_USER = 4;

/** How often those who wait learn that it goes on, in milliseconds: they wait for no longer than a second in silence. */
const TICK = 400;

/** After how many milliseconds they are told in words; after the last, each time that many more have passed. */
const TELLING = [1000, 3000, 10_000];

/** Milliseconds from SIGTERM to SIGKILL. */
const GRACE = 3000;

/** Milliseconds for which the messages of an ended pull are waited for. */
const LAST_WORDS = 500;

/** Longest line of progress, in characters: it has some 150 for each layer. */
const MOST_LINE = 65_536;

/** Bytes of a pull's messages that are kept, the last ones: they come from a process of the user's. */
const MOST_MESSAGES = 8192;

/** Settings of berthd's own environment that say how this node reaches registries. */
const PROXIES = ['http_proxy', 'https_proxy', 'no_proxy', 'HTTP_PROXY', 'HTTPS_PROXY', 'NO_PROXY', 'ALL_PROXY'];

/** Whose pull, of what. */
export interface PullOrder {
  readonly uid: number;
  readonly gid: number;
  readonly gids: readonly number[];
  /** As the user gave it, or what it was pinned to at submit. */
  readonly reference: string;
  readonly nodeName: string;
}

/** Somebody who needs the image. A pull goes on as long as anybody does. */
export interface PullWaiter {
  /** Settles when the waiter is gone. */
  readonly gone: Promise<void>;
  /** Hears at once and then often that the pull goes on, every few seconds in words. */
  readonly tell: (text: string) => void;
}

interface Pull {
  readonly uid: number;
  readonly waiters: Set<PullWaiter>;
  readonly result: Promise<void>;
  readonly stop: () => void;
}

/**
 * Pulls images that a launch needs and the store has not: `berth pull` in the user's name, once for all who wait. What it
 * may do is decided when it talks to berthd, as for any pull of that user.
 */
export class Puller {
  readonly #pulls = new Map<string, Pull>();

  /**
   * @param socket berthd's own.
   * @param command what runs `berth`, with its arguments up to the command's name.
   */
  constructor(
    private readonly config: Config,
    private readonly socket: string,
    private readonly command: readonly string[] = [process.execPath, commandScript],
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
    const key = `${order.uid} ${order.reference}`;
    const pull = this.#pulls.get(key) ?? this.#start(key, order);
    pull.waiters.add(waiter);
    waiter.tell('');
    const gone = waiter.gone.then(() => {
      throw failed(order.reference, 'whoever waited for it is gone');
    });
    try {
      await Promise.race([pull.result, gone]);
    } finally {
      gone.catch(() => undefined);
      pull.waiters.delete(waiter);
      if (pull.waiters.size === 0) pull.stop();
    }
  }

  #start(key: string, order: PullOrder): Pull {
    const own = [...this.#pulls.values()].filter(({ uid }) => uid === order.uid).length;
    if (own >= MOST_PER_USER) throw failed(order.reference, `${own} other pulls of yours are under way on this node`);
    const stopped = new AbortController();
    const waiters = new Set<PullWaiter>();
    const result = this.#run(order, waiters, stopped.signal).finally(() => {
      this.#pulls.delete(key);
    });
    // Those who wait hear of it; perhaps none do any more.
    result.catch(() => undefined);
    const stop = (): void => {
      // The next who asks starts a new one: this one will not end well.
      if (this.#pulls.get(key) === pull) this.#pulls.delete(key);
      stopped.abort();
    };
    const pull: Pull = { uid: order.uid, waiters, result, stop };
    this.#pulls.set(key, pull);
    return pull;
  }

  async #run(order: PullOrder, waiters: ReadonlySet<PullWaiter>, stopped: AbortSignal): Promise<void> {
    const child = await this.#spawn(order);
    const ended = endOf(child);
    const seconds = this.config.store.pullTimeout;
    const limit = AbortSignal.timeout(seconds * 1000);
    let killing: NodeJS.Timeout | undefined;
    const end = (): void => {
      signalGroup(child, 'SIGTERM');
      killing ??= setTimeout(() => {
        signalGroup(child, 'SIGKILL');
      }, GRACE);
    };
    limit.addEventListener('abort', end);
    stopped.addEventListener('abort', end);
    if (stopped.aborted) end();
    const said = listen(child);
    const name = `${order.nodeName || hostname()}: pulling ${order.reference}`;
    const stopTelling = tellRegularly((inWords) => {
      const state = describeProgress(said.state);
      const text = state === '' ? name : `${name}: ${state}`;
      for (const waiter of waiters) waiter.tell(inWords ? text : '');
    });
    try {
      const status = await ended;
      if (limit.aborted) throw failed(order.reference, `it took longer than ${seconds} s ([store] pull_timeout)`);
      if (status !== 0) throw toldBy(said.messages, order.reference, status);
    } finally {
      stopTelling();
      clearTimeout(killing);
      limit.removeEventListener('abort', end);
      stopped.removeEventListener('abort', end);
    }
  }

  async #spawn({ uid, gid, gids, reference }: PullOrder): Promise<ChildProcess> {
    const account = await native.account(uid, []);
    const identity = [
      `--reuid=${uid}`,
      `--regid=${gid}`,
      gids.length > 0 ? `--groups=${gids.join(',')}` : '--clear-groups',
      ...['--no-new-privs', '--bounding-set=-all', '--inh-caps=-all', '--ambient-caps=-all', '--pdeathsig=TERM'],
    ];
    const runtime = `/run/user/${uid}`;
    const proxies = PROXIES.flatMap((name) => {
      const value = process.env[name];
      return value === undefined ? [] : [[name, value] as const];
    });
    return spawn('setpriv', [...identity, '--', ...this.command, 'pull', '--progress=json', reference], {
      cwd: '/',
      env: {
        PATH: '/usr/local/bin:/usr/bin:/bin:/usr/local/sbin:/usr/sbin:/sbin',
        LANG: 'C.UTF-8',
        HOME: account?.home ?? '/',
        USER: account?.name ?? String(uid),
        LOGNAME: account?.name ?? String(uid),
        BERTH_SOCKET: this.socket,
        ...(existsSync(runtime) ? { XDG_RUNTIME_DIR: runtime } : {}),
        ...Object.fromEntries(proxies),
      },
      stdio: ['ignore', 'pipe', 'pipe'],
      // A group of its own, with whatever it starts.
      detached: true,
    });
  }
}

/** A process's exit status, once it has ended and its messages are there; undefined when it was not started, or killed. */
async function endOf(child: ChildProcess): Promise<number | undefined> {
  const closed = new Promise<void>((resolve) => {
    child.once('close', () => {
      resolve();
    });
  });
  const status = await new Promise<number | undefined>((resolve) => {
    child.once('error', () => {
      resolve(undefined);
    });
    child.once('exit', (code) => {
      // What it started must not outlive it. Now: later, its number may be another's.
      signalGroup(child, 'SIGKILL');
      resolve(code ?? undefined);
    });
  });
  await Promise.race([closed, sleep(LAST_WORDS)]);
  return status;
}

/** What a pull has said so far: the last of its messages, and how far it is. */
interface Said {
  messages: string;
  state: PullState | undefined;
}

function listen(child: ChildProcess): Said {
  const said: Said = { messages: '', state: undefined };
  child.stderr?.setEncoding('utf8').on('data', (text: string) => {
    said.messages = (said.messages + text).slice(-MOST_MESSAGES);
  });
  let line = '';
  child.stdout?.setEncoding('utf8').on('data', (text: string) => {
    const lines = (line + text).split('\n');
    line = (lines.pop() ?? '').slice(0, MOST_LINE);
    for (const whole of lines) said.state = parseProgress(whole) ?? said.state;
  });
  return said;
}

/** Calls `tell` every {@link TICK}; returns what ends that. */
function tellRegularly(tell: (inWords: boolean) => void): () => void {
  const begin = performance.now();
  let told = 0;
  const timer = setInterval(() => {
    const last = TELLING.length - 1;
    const due = told <= last ? (TELLING[told] ?? 0) : (TELLING[last] ?? 0) * (told - last + 1);
    const inWords = performance.now() - begin >= due;
    if (inWords) told++;
    tell(inWords);
  }, TICK);
  return () => {
    clearInterval(timer);
  };
}

function signalGroup({ pid }: ChildProcess, signal: 'SIGTERM' | 'SIGKILL'): void {
  if (pid === undefined) return;
  try {
    process.kill(-pid, signal);
  } catch {
    // All of them are gone.
  }
}

/** The error in a command's messages: what it told a terminal (formatError). */
function toldBy(messages: string, reference: string, status: number | undefined): Error {
  const told = /^berth: (BERTH_[A-Z_]+): (.*)\nberth: {3}why: (.*)\nberth: {3}hint: (.*)$/m.exec(messages);
  if (told) {
    const [, code = '', what = '', why = '', hint = ''] = told;
    return new RemoteError({ code, exitStatus: status ?? 1, what, why, hint });
  }
  const last = messages.trim().split('\n').at(-1);
  const why = last === undefined || last === '' ? `berth pull ended with status ${status ?? 'unknown'}` : last;
  return failed(reference, why);
}

function failed(name: string, why: string): BerthError {
  return new BerthError('BERTH_PULL_FAILED', { name, why });
}
