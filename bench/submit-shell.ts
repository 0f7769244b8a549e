/** A shell of a user on the submit host that times the commands it is given. */
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { readFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { createInterface, type Interface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import type { Cluster } from '../test/cluster/cluster.js';

const script = join(dirname(fileURLToPath(import.meta.url)), 'submit-shell.sh');

/** The user all launches are made by: an ordinary one, with subordinate ids. */
export const user = 'alice';

/** A command that has succeeded. */
export interface Run {
  /** Microseconds since the epoch. */
  readonly begin: number;
  readonly end: number;
  /** Of all ranks, on stdout. */
  readonly output: string;
}

/** What a launch took. All in milliseconds since its srun was started. */
export interface Timing {
  /** Until srun has ended. */
  readonly wall: number;
  /** Until the program of the last rank runs. */
  readonly lastStart: number;
}

/** A launch that did not do what it was to do. */
export class LaunchFailure extends Error {}

export class SubmitShell {
  readonly #reader: Interface;
  readonly #lines: AsyncIterator<string>;
  #complaints = '';

  private constructor(
    private readonly child: ChildProcess,
    private readonly output: string,
  ) {
    if (child.stdout === null || child.stderr === null) throw new Error('the shell was started without pipes');
    this.#reader = createInterface({ input: child.stdout });
    this.#lines = this.#reader[Symbol.asyncIterator]();
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      this.#complaints += text;
    });
  }

  /**
   * @param name of the files its commands' output goes to, in the user's home directory
   * @param allocation `salloc` and its options for a shell within an allocation; nothing for one without
   * @param environment for its commands, which srun hands on to the ranks
   * @throws LaunchFailure when there is no allocation to be had
   */
  static async open(
    cluster: Cluster,
    name: string,
    allocation: readonly string[],
    environment: Readonly<Record<string, string>>,
    signal: AbortSignal,
  ): Promise<SubmitShell> {
    const child = await cluster.spawn('login', [...allocation, 'bash', script, `/home/${user}/${name}`], {
      user,
      env: { LC_ALL: 'C.UTF-8', ...environment },
    });
    const shell = new SubmitShell(child, join(cluster.layout.home, user, name));
    signal.addEventListener('abort', () => {
      child.kill('SIGTERM');
      // Its srun may hold the other end open for long.
      shell.#reader.close();
    });
    await shell.#answer();
    return shell;
  }

  /**
   * Runs a command that has to succeed.
   * @throws LaunchFailure with what it wrote when it fails
   */
  async run(command: readonly string[]): Promise<Run> {
    if (command.some((word) => word === '' || /[\t\n]/.test(word))) {
      throw new Error(`the shell cannot read ${JSON.stringify(command)}`);
    }
    this.child.stdin?.write(`${command.join('\t')}\n`);
    const [begin = '', end = '', status = ''] = (await this.#answer()).split(' ');
    const output = await readFile(`${this.output}.out`, 'utf8');
    if (status !== '0') {
      const errors = await readFile(`${this.output}.err`, 'utf8');
      throw new LaunchFailure(`${command.join(' ')}\nended with status ${status}:\n${(output + errors).trim()}`);
    }
    return { begin: microseconds(begin), end: microseconds(end), output };
  }

  /**
   * Runs a launch whose ranks each print their start as nanoseconds since the epoch, and nothing else.
   * @throws LaunchFailure when it fails or not all ranks answer
   */
  async time(command: readonly string[], ranks: number): Promise<Timing> {
    const { begin, end, output } = await this.run(command);
    const starts = output.trim().split('\n');
    if (starts.length !== ranks || !starts.every((start) => /^\d{19}$/.test(start))) {
      throw new LaunchFailure(`${command.join(' ')}\nhas ${ranks} ranks, which have written:\n${output}`);
    }
    const last = Math.max(...starts.map((start) => Number(BigInt(start) / 1000n)));
    return { wall: (end - begin) / 1000, lastStart: (last - begin) / 1000 };
  }

  /** Ends the shell, and with it its allocation. */
  async close(): Promise<void> {
    this.child.stdin?.end();
    if (this.child.exitCode === null && this.child.signalCode === null) await once(this.child, 'exit');
  }

  async #answer(): Promise<string> {
    const line = await this.#lines.next();
    if (line.done === true) throw new LaunchFailure(`The shell on the submit host has ended:\n${this.#complaints}`);
    return line.value;
  }
}

/** Of seconds with six digits behind the point. */
function microseconds(seconds: string): number {
  return Number(seconds.replace('.', ''));
}
