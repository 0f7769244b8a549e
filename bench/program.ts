/** Running the programs that are measured. */
import { spawn } from 'node:child_process';

export interface ProgramOptions {
  /** Open file for its stdin; without it, /dev/null. */
  readonly input?: number;
  /** Open files for its descriptors from 3 on. */
  readonly descriptors?: readonly number[];
  readonly cwd?: string;
  readonly env?: Readonly<Record<string, string>>;
  /** Throws its output away. What it writes to stdout is given otherwise. */
  readonly quiet?: boolean;
  readonly signal?: AbortSignal;
}

const PATH = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin';

/** How much of what a failed program said is told, in characters. */
const COMPLAINT_LIMIT = 4000;

/**
 * Runs a program that has to succeed and gives its stdout.
 * @throws Error with its last words when it fails
 */
export async function run(argv: readonly string[], options: ProgramOptions = {}): Promise<string> {
  const [program = '', ...rest] = argv;
  const child = spawn(program, rest, {
    cwd: options.cwd,
    env: { PATH, LC_ALL: 'C.UTF-8', ...options.env },
    stdio: [options.input ?? 'ignore', options.quiet ? 'ignore' : 'pipe', 'pipe', ...(options.descriptors ?? [])],
    ...(options.signal === undefined ? {} : { signal: options.signal }),
  });
  let output = '';
  let complaint = '';
  child.stdout?.setEncoding('utf8').on('data', (text: string) => (output += text));
  child.stderr?.setEncoding('utf8').on('data', (text: string) => {
    complaint = (complaint + text).slice(-COMPLAINT_LIMIT);
  });
  const end = await new Promise<string>((resolve, reject) => {
    child.once('error', (error) => {
      // One that was told to end has yet to do so: nobody may go on as long as it uses what is about to be removed.
      if (child.pid === undefined) reject(error);
    });
    child.once('close', (status, signal) => {
      resolve(signal ?? `status ${String(status)}`);
    });
  });
  options.signal?.throwIfAborted();
  if (end !== 'status 0') throw new Error(`${argv.join(' ')}\nended with ${end}:\n${output}${complaint}`);
  return output;
}

/** Milliseconds that the work took, by a clock that is never set. */
export async function timed(work: () => Promise<unknown>): Promise<number> {
  const begin = performance.now();
  await work();
  return performance.now() - begin;
}
