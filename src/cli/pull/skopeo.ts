import { spawn, type ChildProcess, type StdioOptions } from 'node:child_process';
import { hostname } from 'node:os';
import { BerthError } from '../../errors/index.js';

/** How much of what skopeo says on standard error is kept, in characters; its last line tells the cause. */
const MESSAGE_LIMIT = 16 * 1024;

/** skopeo ended badly, or its proxy refused a request; the message is in its own words. */
export class SkopeoError extends Error {}

/** A skopeo that runs. */
export interface Running {
  readonly child: ChildProcess;
  /** Resolves with what is wrong, in skopeo's own words, or undefined when it ended well. */
  readonly ended: Promise<string | undefined>;
}

/**
 * Starts skopeo. It gets a session of its own, so that an interrupt from the terminal comes to berth alone, which then
 * ends it; `signal` ends it at once.
 */
export function startSkopeo(argv: readonly string[], stdio: StdioOptions, signal: AbortSignal): Running {
  signal.throwIfAborted();
  const child = spawn('skopeo', argv, { stdio, detached: true, env: { ...process.env, LC_ALL: 'C' } });
  let said = '';
  child.stderr?.setEncoding('utf8').on('data', (words: string) => {
    said = (said + words).slice(-MESSAGE_LIMIT);
  });
  const kill = (): void => void child.kill('SIGKILL');
  signal.addEventListener('abort', kill);
  const ended = new Promise<string | undefined>((resolve, reject) => {
    child.once('error', (error) => {
      signal.removeEventListener('abort', kill);
      reject(unusable(`it could not be started: ${startFault(error)}`));
    });
    child.once('close', (status, killed) => {
      signal.removeEventListener('abort', kill);
      resolve(
        status === 0 ? undefined : lastWords(said) || `skopeo ended with ${killed ?? `status ${String(status)}`}`,
      );
    });
  });
  ended.catch(() => undefined);
  return { child, ended };
}

/**
 * Runs skopeo and gives what it writes.
 *
 * @param limit of its output, in bytes.
 * @param input its standard input.
 * @throws SkopeoError in its own words; BerthError BERTH_PULL_TOOL; the signal's reason
 */
export async function runSkopeo(
  argv: readonly string[],
  signal: AbortSignal,
  { limit = Infinity, input }: { readonly limit?: number; readonly input?: string } = {},
): Promise<Buffer> {
  const { child, ended } = startSkopeo(argv, [input === undefined ? 'ignore' : 'pipe', 'pipe', 'pipe'], signal);
  const chunks: Buffer[] = [];
  let length = 0;
  child.stdout?.on('data', (chunk: Buffer) => {
    length += chunk.length;
    if (length <= limit) chunks.push(chunk);
    else child.kill('SIGKILL');
  });
  // A program that ends before it has read its input says why itself.
  child.stdin?.on('error', () => undefined);
  child.stdin?.end(input);
  const fault = await ended;
  signal.throwIfAborted();
  if (length > limit) throw new SkopeoError(`what came is longer than ${limit} bytes`);
  if (fault !== undefined) throw new SkopeoError(fault);
  return Buffer.concat(chunks);
}

export function unusable(why: string): BerthError {
  return new BerthError('BERTH_PULL_TOOL', { host: hostname(), why });
}

function startFault(error: Error): string {
  return 'code' in error && error.code === 'ENOENT' ? 'it is not installed, or not in your PATH' : error.message;
}

/** The message of logrus's last line, or the last line. */
function lastWords(said: string): string {
  const lines = said.split('\n').filter((line) => line.trim() !== '');
  const last = lines.at(-1) ?? '';
  const quoted = /\bmsg=("(?:[^"\\]|\\.)*"|\S+)/.exec(last)?.[1];
  if (quoted === undefined) return last.trim();
  if (!quoted.startsWith('"')) return quoted;
  try {
    return String(JSON.parse(quoted));
  } catch {
    return quoted.slice(1, -1);
  }
}
