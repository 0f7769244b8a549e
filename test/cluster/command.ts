/** Running programs on the machine itself and collecting what they say. */
import { spawn, type ChildProcess, type StdioOptions } from 'node:child_process';
import type { Readable } from 'node:stream';
import { ClusterError, errorMessage } from './errors.js';

/** How a program ended. Exactly one of `status` and `signal` is not null. */
export interface CommandResult {
  readonly status: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly stdout: string;
  readonly stderr: string;
}

export interface CommandOptions {
  readonly env?: Readonly<Record<string, string>>;
  /** Text given on stdin, which is then closed. Without it stdin is /dev/null. */
  readonly stdin?: string;
  /** Milliseconds until the program gets SIGTERM, and 2 s later SIGKILL. */
  readonly timeout?: number;
  /** Sends the program SIGTERM when aborted. */
  readonly signal?: AbortSignal;
  /** Open file given to the program as its descriptor 3. */
  readonly descriptor3?: number;
}

/** The environment of programs that the cluster runs for itself on the machine. */
export const toolEnvironment: Readonly<Record<string, string>> = {
  PATH: '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin',
  LC_ALL: 'C.UTF-8',
};

const killDelay = 2_000;

/** How the program ended; rejects when it could not be started at all. */
export function ending(child: ChildProcess): Promise<Pick<CommandResult, 'status' | 'signal'>> {
  return new Promise((resolve, reject) => {
    child.once('error', reject);
    child.once('exit', (status, signal) => {
      resolve({ status, signal });
    });
  });
}

/** All text from a stream until its end, or until it is destroyed. */
function content(stream: Readable | null): Promise<string> {
  return new Promise((resolve) => {
    let received = '';
    if (stream === null) {
      resolve(received);
      return;
    }
    stream.setEncoding('utf8');
    stream.on('data', (chunk: string) => {
      received += chunk;
    });
    stream.once('close', () => {
      resolve(received);
    });
  });
}

/**
 * Runs a program to its end and that of its output, whatever its exit status.
 * @throws ClusterError when it cannot be started, or does not end within `timeout`
 */
export async function runCommand(argv: readonly string[], options: CommandOptions = {}): Promise<CommandResult> {
  const [program = '', ...args] = argv;
  const stdio: StdioOptions = [options.stdin === undefined ? 'ignore' : 'pipe', 'pipe', 'pipe'];
  if (options.descriptor3 !== undefined) stdio.push(options.descriptor3);
  const child = spawn(program, args, { env: options.env ?? toolEnvironment, stdio });

  const limit = { isReached: false };
  let killTimer: NodeJS.Timeout | undefined;
  const terminate = (): void => {
    child.kill('SIGTERM');
    killTimer ??= setTimeout(() => {
      child.kill('SIGKILL');
      // What the program left behind in the background may hold its output open.
      child.stdout?.destroy();
      child.stderr?.destroy();
    }, killDelay);
  };
  const limitTimer =
    options.timeout === undefined
      ? undefined
      : setTimeout(() => {
          limit.isReached = true;
          terminate();
        }, options.timeout);
  options.signal?.addEventListener('abort', terminate, { once: true });
  if (options.signal?.aborted === true) terminate();

  try {
    // A program may end without reading its stdin: its exit status tells the rest.
    child.stdin?.on('error', () => undefined);
    child.stdin?.end(options.stdin);
    const [end, stdout, stderr] = await Promise.all([ending(child), content(child.stdout), content(child.stderr)]);
    if (limit.isReached) {
      throw new ClusterError(
        argv.join(' '),
        `not finished after ${String(options.timeout)} ms`,
        `Its output until then:\n${stdout}${stderr}`,
      );
    }
    return { ...end, stdout, stderr };
  } catch (error) {
    if (error instanceof ClusterError) throw error;
    throw new ClusterError(
      `Cannot run ${program}`,
      errorMessage(error),
      'Check that the program is installed and executable.',
    );
  } finally {
    clearTimeout(limitTimer);
    clearTimeout(killTimer);
    options.signal?.removeEventListener('abort', terminate);
  }
}

/**
 * Runs a program that has to succeed and gives its stdout.
 * @throws ClusterError with the program's stderr when it fails
 */
export async function requireCommand(argv: readonly string[], options: CommandOptions = {}): Promise<string> {
  const result = await runCommand(argv, options);
  if (result.status !== 0) {
    const end = result.signal ?? `exit status ${String(result.status)}`;
    throw new ClusterError(
      argv.join(' '),
      `${end}${result.stderr === '' ? '' : `: ${result.stderr.trim()}`}`,
      'Run the command by hand as root to see more.',
    );
  }
  return result.stdout;
}

/** Applies `work` to every item, at most `limit` at a time; stops taking new items at the first failure. */
export async function forEachLimited<T>(
  items: readonly T[],
  limit: number,
  work: (item: T) => Promise<void>,
): Promise<void> {
  const iterator = items.values();
  let failed = false;
  const worker = async (): Promise<void> => {
    for (const item of iterator) {
      if (failed) return;
      try {
        await work(item);
      } catch (error) {
        failed = true;
        throw error;
      }
    }
  };
  const results = await Promise.allSettled(Array.from({ length: Math.min(limit, items.length) }, worker));
  for (const result of results) {
    if (result.status === 'rejected') throw result.reason;
  }
}
