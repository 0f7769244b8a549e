import { spawn, type ChildProcess } from 'node:child_process';
import { existsSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { RemoteError } from '../errors/index.js';
import { native } from '../native/index.js';

const here = dirname(fileURLToPath(import.meta.url));

/** The command line: beside the bundled daemon, or where the build puts it as seen from the sources. */
const places = [join(here, 'cli.js'), join(here, '..', '..', 'build', 'lib', 'cli.js')];
const commandScript = places.find((place) => existsSync(place)) ?? join(here, 'cli.js');

/** What runs `berth`, with its arguments up to the command's name. */
export const berthCommand: readonly string[] = [process.execPath, commandScript];

/** How often those who wait learn that it goes on, in milliseconds: they wait for no longer than a second in silence. */
const TICK = 400;

/** After how many milliseconds they are told in words; after the last, each time that many more have passed. */
const TELLING = [1000, 3000, 10_000];

/** Milliseconds from SIGTERM to SIGKILL. */
const GRACE = 3000;

/** Milliseconds for which the messages of an ended process are waited for. */
const LAST_WORDS = 500;

/** Bytes of a process's messages that are kept, the last ones. */
const MOST_MESSAGES = 8192;

/** Settings of berthd's own environment that say how this node reaches registries. */
const PROXIES = ['http_proxy', 'https_proxy', 'no_proxy', 'HTTP_PROXY', 'HTTPS_PROXY', 'NO_PROXY', 'ALL_PROXY'];

/** Who a process is to be. */
export interface User {
  readonly uid: number;
  readonly gid: number;
  readonly gids: readonly number[];
}

/** Somebody who needs what a process makes. It goes on as long as anybody does. */
export interface Waiter {
  /** Settles when the waiter is gone. */
  readonly gone: Promise<void>;
  /** Hears at once and then often that it goes on, every few seconds in words. */
  readonly tell: (text: string) => void;
}

/**
 * What keeps a process from leaving anything behind: it is the first of a process namespace, and the kernel ends that with
 * it, also what has left its process group. Its user can make it run what they like (a debugger attaches to one's own
 * processes), and that is not to outlive the job. It dies with berthd. The mount namespace is for its /proc.
 */
const enclosure = [
  ...['--pdeathsig=KILL', '--'],
  ...['unshare', '--pid', '--mount-proc', '--propagation', 'slave', '--fork', '--kill-child=KILL', '--'],
];

/**
 * Starts a program with a user's rights and no others, in an environment of its own, and in a process group of its own.
 *
 * @param stdio descriptors, or as Node has them.
 * @param environment what it gets besides the usual.
 */
export async function spawnAs(
  { uid, gid, gids }: User,
  argv: readonly string[],
  stdio: ('ignore' | 'pipe' | number)[],
  environment: Readonly<Record<string, string>> = {},
): Promise<ChildProcess> {
  const account = await native.account(uid, []);
  const identity = [
    `--reuid=${uid}`,
    `--regid=${gid}`,
    gids.length > 0 ? `--groups=${gids.join(',')}` : '--clear-groups',
    ...['--no-new-privs', '--bounding-set=-all', '--inh-caps=-all', '--ambient-caps=-all', '--pdeathsig=KILL'],
  ];
  const runtime = `/run/user/${uid}`;
  const proxies = PROXIES.flatMap((name) => {
    const value = process.env[name];
    return value === undefined ? [] : [[name, value] as const];
  });
  return spawn('setpriv', [...enclosure, 'setpriv', ...identity, '--', ...argv], {
    cwd: '/',
    env: {
      PATH: '/usr/local/bin:/usr/bin:/bin:/usr/local/sbin:/usr/sbin:/sbin',
      LANG: 'C.UTF-8',
      HOME: account?.home ?? '/',
      USER: account?.name ?? String(uid),
      LOGNAME: account?.name ?? String(uid),
      ...(existsSync(runtime) ? { XDG_RUNTIME_DIR: runtime } : {}),
      ...Object.fromEntries(proxies),
      ...environment,
    },
    stdio,
    // A group of its own, with whatever it starts.
    detached: true,
  });
}

/**
 * Starts an executable of ours that becomes a user by itself, enclosed as those of {@link spawnAs}.
 *
 * @param stdio descriptors, or as Node has them.
 */
export function spawnEnclosed(argv: readonly string[], stdio: ('ignore' | 'pipe' | number)[]): ChildProcess {
  return spawn('setpriv', [...enclosure, ...argv], {
    cwd: '/',
    env: { PATH: '/usr/sbin:/usr/bin:/sbin:/bin' },
    stdio,
    detached: true,
  });
}

/** A process's exit status, once it has ended and its messages are there; undefined when it was not started, or killed. */
export async function endOf(child: ChildProcess): Promise<number | undefined> {
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
      resolve(code ?? undefined);
    });
  });
  await Promise.race([closed, sleep(LAST_WORDS)]);
  child.stdout?.destroy();
  child.stderr?.destroy();
  return status;
}

/**
 * Ends a process and its group when one of the signals is aborted: first politely.
 *
 * @returns what undoes that, once the process has ended.
 */
export function endOnAbort(child: ChildProcess, signals: readonly AbortSignal[]): () => void {
  let killing: NodeJS.Timeout | undefined;
  const end = (): void => {
    signalGroup(child, 'SIGTERM');
    killing ??= setTimeout(() => {
      signalGroup(child, 'SIGKILL');
    }, GRACE);
  };
  for (const signal of signals) signal.addEventListener('abort', end);
  if (signals.some(({ aborted }) => aborted)) end();
  return () => {
    clearTimeout(killing);
    for (const signal of signals) signal.removeEventListener('abort', end);
  };
}

/** Collects the messages of a process: the last ones, as it is a user's. */
export function collectMessages({ stderr }: ChildProcess): () => string {
  let messages = '';
  stderr?.setEncoding('utf8').on('data', (text: string) => {
    messages = (messages + text).slice(-MOST_MESSAGES);
  });
  return () => messages;
}

/** Calls `tell` every {@link TICK}; returns what ends that. */
export function tellRegularly(tell: (inWords: boolean) => void): () => void {
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

function signalGroup({ pid, exitCode, signalCode }: ChildProcess, signal: 'SIGTERM' | 'SIGKILL'): void {
  // The number of an ended one may be another's by now.
  if (pid === undefined || exitCode !== null || signalCode !== null) return;
  try {
    process.kill(-pid, signal);
  } catch {
    // All of them are gone.
  }
}

/** The error in a command's messages: what it told a terminal (formatError). */
export function toldBy(messages: string, status: number | undefined): RemoteError | undefined {
  const told = /^berth: (BERTH_[A-Z_]+): (.*)\nberth: {3}why: (.*)\nberth: {3}hint: (.*)$/m.exec(messages);
  if (!told) return undefined;
  const [, code = '', what = '', why = '', hint = ''] = told;
  return new RemoteError({ code, exitStatus: status ?? 1, what, why, hint });
}

/** What unshare(1) of util-linux 2.38 says when its child was killed: it stumbles over its own signal mask, and exits. */
const STUMBLED = /^unshare: sigprocmask.*$/m;

/** Was a process that has ended killed, such as by the kernel for want of memory? */
export function wasKilled({ signalCode }: ChildProcess, messages: string): boolean {
  return signalCode !== null || STUMBLED.test(messages);
}

/** Why a process that has ended badly did: what it said last, or how it ended. `subject` is what people call it. */
export function whyEnded(subject: string, child: ChildProcess, messages: string, status: number | undefined): string {
  if (wasKilled(child, messages)) return `${subject} was killed: is this node short of memory?`;
  return lastWords(messages) ?? `${subject} ended with status ${status ?? 'unknown'}`;
}

/** What a command that told no error said last; undefined when it was silent. */
export function lastWords(messages: string): string | undefined {
  const last = messages.trim().split('\n').at(-1);
  return last === '' ? undefined : last;
}
