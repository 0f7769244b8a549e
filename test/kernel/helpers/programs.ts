import { execFileSync, spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdirSync, renameSync, statSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';

export const projectRoot = join(dirname(fileURLToPath(import.meta.url)), '..', '..', '..');

/** How each of test/native's programs is compiled, besides its own source. */
const PROGRAMS = {
  caller: { flags: [], sources: [] },
  'deny-device': { flags: [], sources: [] },
  datagram: { flags: [], sources: [] },
  'forbid-userns': { flags: [], sources: [] },
  enter: {
    flags: ['-Ibuild/generated', '-DBERTH_VERSION="test"'],
    sources: ['native/client/enter.c', 'native/client/pretend.c', 'native/client/failure.c'],
  },
  reach: { flags: [], sources: [] },
  'same-pid': { flags: [], sources: [] },
  'silent-filesystem': { flags: [], sources: [] },
  toolbox: { flags: ['-static'], sources: [] },
} as const satisfies Record<string, { flags: readonly string[]; sources: readonly string[] }>;

export type ProgramName = keyof typeof PROGRAMS;

/** Path of a program of test/native, compiled unless that was done since its source changed. */
export function program(name: ProgramName): string {
  const { flags, sources } = PROGRAMS[name];
  const inputs = [`test/native/${name}.c`, ...sources];
  const output = join(projectRoot, 'build', 'test', name);
  const newest = Math.max(...inputs.map((input) => statSync(join(projectRoot, input)).mtimeMs));
  if (existsSync(output) && statSync(output).mtimeMs > newest) return output;
  mkdirSync(dirname(output), { recursive: true });
  const temporary = `${output}.${process.pid}`;
  const options = ['-std=gnu11', '-D_GNU_SOURCE', '-O1', '-Wall', '-Wextra', '-Werror'];
  execFileSync('cc', [...options, ...flags, ...inputs, '-o', temporary], { cwd: projectRoot });
  renameSync(temporary, output);
  return output;
}

/** A program that runs beside the test until it is stopped. */
export class Running {
  readonly #lines: AsyncIterator<string>;

  private constructor(private readonly child: ChildProcess) {
    if (!child.stdout) throw new Error('the program has no standard output');
    this.#lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  }

  static async start(command: string, ...args: readonly string[]): Promise<Running> {
    const child = spawn(command, args, { stdio: ['pipe', 'pipe', 'inherit'] });
    await once(child, 'spawn');
    return new Running(child);
  }

  get pid(): number {
    if (this.child.pid === undefined) throw new Error('the program did not start');
    return this.child.pid;
  }

  /** The next line it prints. */
  async line(): Promise<string> {
    const next = await this.#lines.next();
    if (next.done === true) throw new Error(`${this.child.spawnfile} ended without another line`);
    return next.value;
  }

  /** Ends its standard input, or kills it, and waits until it is gone. */
  async stop(signal?: NodeJS.Signals): Promise<void> {
    if (this.child.exitCode !== null || this.child.signalCode !== null) return;
    const ended = once(this.child, 'close');
    if (signal === undefined) this.child.stdin?.end();
    else this.child.kill(signal);
    await ended;
  }
}
