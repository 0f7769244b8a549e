/** A terminal of a cluster's host at which somebody types commands, also in the shells that these start. */
import type { ChildProcess } from 'node:child_process';
import type { Cluster } from '../../cluster/cluster.js';
import { ending } from '../../cluster/command.js';

export interface TerminalOptions {
  readonly host: string;
  readonly user: string;
  /** Where the shell starts. */
  readonly directory: string;
  readonly env: Readonly<Record<string, string>>;
}

/** What became of a command. */
export interface Typed {
  readonly status: number;
  /** Standard output and error, as somebody sees them, without colours. */
  readonly lines: readonly string[];
}

/** In milliseconds. */
const COMMAND_LIMIT = 60_000;
const END_LIMIT = 10_000;

// Every shell prints this before it reads a command: who it is, and how the last command ended. It is told so by the
// environment, so that shells that salloc, srun and berth start do it too.
const MARK = /\x1e(\d+) (\d+)\x1e/;
const PROMPT_COMMAND = String.raw`printf '\036%s %s\036' "$$" "$?"; PS1= PS2=`;

export class Terminal {
  #said = '';
  #hasEnded = false;
  #wake: () => void = () => undefined;
  /** The shell in which the terminal began, and the one that reads now. */
  #outermost = '';
  #reading = '';

  private constructor(private readonly child: ChildProcess) {
    child.stdout?.setEncoding('utf8').on('data', (text: string) => {
      this.#said += text;
      this.#wake();
    });
    // What is typed after the end is of no interest.
    child.stdin?.on('error', () => undefined);
    void ending(child).then(() => {
      this.#hasEnded = true;
      this.#wake();
    });
  }

  static async open(cluster: Cluster, { host, user, directory, env }: TerminalOptions): Promise<Terminal> {
    // Wide, so that nothing is broken into two lines; what is typed is not to be among what is printed. The user's own bin
    // directory comes first, as Debian's .profile has it.
    const shell =
      'stty -echo cols 200 rows 50; PATH=$HOME/bin:$PATH; cd "$DIRECTORY" && exec bash --norc --noediting -i';
    const child = await cluster.spawn(host, ['script', '--quiet', '--flush', '--command', shell, '/dev/null'], {
      user,
      env: { ...env, LANG: 'C.UTF-8', TERM: 'dumb', DIRECTORY: directory, PROMPT_COMMAND, PS1: '', PS2: '' },
    });
    const terminal = new Terminal(child);
    await terminal.#untilPrompt('the shell');
    terminal.#outermost = terminal.#reading;
    return terminal;
  }

  /** Is a shell in a job or a container reading, which one of the commands has started? */
  get isNested(): boolean {
    return this.#reading !== this.#outermost;
  }

  /** Types a command, and waits until a shell reads again. */
  async type(command: string): Promise<Typed> {
    this.child.stdin?.write(`${command}\n`);
    return this.#untilPrompt(command);
  }

  /** Leaves all shells. */
  async close(): Promise<void> {
    const limit = Date.now() + END_LIMIT;
    while (!this.#hasEnded && Date.now() < limit) {
      this.child.stdin?.write('exit\n');
      await this.#untilPrompt('exit', END_LIMIT).catch(() => undefined);
    }
    if (!this.#hasEnded) this.child.kill('SIGKILL');
  }

  async #untilPrompt(command: string, limit = COMMAND_LIMIT): Promise<Typed> {
    const deadline = Date.now() + limit;
    for (;;) {
      const mark = MARK.exec(this.#said);
      if (mark) {
        const lines = visibleLines(this.#said.slice(0, mark.index));
        this.#said = this.#said.slice(mark.index + mark[0].length);
        this.#reading = mark[1] ?? '';
        return { status: Number(mark[2]), lines };
      }
      if (this.#hasEnded) throw new Error(`${command}: the terminal was closed\n${this.#said}`);
      if (Date.now() >= deadline) throw new Error(`${command}: not finished after ${limit} ms\n${this.#said}`);
      await this.#news(deadline - Date.now());
    }
  }

  /** Something new was said, or it has ended, or the time is over. */
  #news(patience: number): Promise<void> {
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, patience);
      this.#wake = () => {
        clearTimeout(timer);
        resolve();
      };
    });
  }
}

/** Without the sequences that steer a terminal. */
function visibleLines(text: string): string[] {
  return text
    .replace(/\x1b\[[0-9;?]*[A-Za-z]|\x1b\][^\x07]*\x07/g, '')
    .split(/\r?\n|\r/)
    .map((line) => line.trimEnd())
    .filter((line) => line !== '');
}
