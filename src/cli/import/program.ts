import { spawn } from 'node:child_process';
import { Readable, Writable } from 'node:stream';
import { BerthError } from '../../errors/index.js';

/** A plain tar archive that flows, and what makes it. */
export interface Source {
  /** What berth images shows as its source. */
  readonly label: string;
  readonly archive: Readable;
  /**
   * Resolves when all that makes the archive has ended, and ended well; rejects with BERTH_IMPORT_SOURCE otherwise. The
   * archive's own end does not tell: tar, for one, ends it properly although it has skipped what it could not read.
   */
  readonly finished: Promise<void>;
  /** Ends the programs. */
  readonly stop: () => void;
}

/** How much of a program's words is kept, in characters; the first ones tell the cause. */
const MESSAGE_LIMIT = 2000;

/**
 * Runs the program that makes the archive on its standard output.
 *
 * @param text what the user calls the source.
 * @param input its standard input.
 * @param descriptors what it gets as descriptors 3 and up; the caller's to close.
 */
export function runProgram(
  text: string,
  label: string,
  [program, ...argv]: readonly [string, ...string[]],
  input: Readable | number | 'ignore',
  descriptors: readonly number[] = [],
): Source {
  const child = spawn(program, argv, {
    stdio: [input instanceof Readable ? 'pipe' : input, 'pipe', 'pipe', ...descriptors],
    env: { ...process.env, LC_ALL: 'C' },
  });
  const { stdin, stdout, stderr } = child;
  if (!stdout || !stderr) throw new Error(`${program} has no standard output`);
  let said = '';
  stderr.setEncoding('utf8').on('data', (words: string) => {
    said = (said + words).slice(0, MESSAGE_LIMIT);
  });
  if (input instanceof Readable && stdin) feed(input, stdin);
  const finished = new Promise<void>((resolve, reject) => {
    child.once('error', (error) => {
      reject(sourceError(text, `${program} could not be started: ${error.message}`));
    });
    child.once('close', (status, signal) => {
      if (status === 0) resolve();
      else reject(sourceError(text, reason(program, said, signal ?? `status ${status ?? 'unknown'}`)));
    });
  });
  finished.catch(() => undefined);
  const stop = (): void => {
    child.kill('SIGKILL');
    stdout.destroy();
    stderr.destroy();
  };
  return { label, archive: stdout, finished, stop };
}

export function sourceError(source: string, why: string): BerthError {
  return new BerthError('BERTH_IMPORT_SOURCE', { source, why });
}

function feed(input: Readable, stdin: Writable): void {
  // A program that stops reading early says why itself.
  stdin.on('error', () => undefined);
  input.on('error', () => stdin.destroy());
  input.pipe(stdin);
}

function reason(program: string, said: string, end: string): string {
  const lines = said.split('\n').filter((line) => line.trim() !== '');
  if (lines.length === 0) return `${program} ended with ${end}`;
  const shown = lines.slice(0, 3).map((line) =>
    line
      .trim()
      .replace(/^\/proc\/self\/fd\/\d+: /, '')
      .replace(/\/proc\/self\/fd\/\d+/g, 'it'),
  );
  return shown.join('; ') + (lines.length > shown.length ? `; and ${lines.length - shown.length} more lines` : '');
}
