/** Tries the examples of one page, in their order, in a directory of their own. */
import { dirname, join } from 'node:path';
import { readModule } from '../../../src/modules/read.js';
import { settled } from '../leftovers.js';
import {
  missingLine,
  type Command,
  type Example,
  type FileExample,
  type SessionExample,
  type TomlExample,
} from './examples.js';
import type { ReadersSite } from './readers-site.js';
import { Terminal, type Typed } from './terminal.js';

/** In milliseconds, of a job that an example submits. */
const JOB_LIMIT = 60_000;

export class PageRunner {
  private constructor(
    private readonly site: ReadersSite,
    private readonly directory: string,
  ) {}

  /** @param name of the page, without its directory and ending */
  static async make(site: ReadersSite, name: string): Promise<PageRunner> {
    return new PageRunner(site, await site.makeDirectory(name));
  }

  /**
   * Does what an example says.
   *
   * @throws Error that says what is otherwise
   */
  async try(example: Example): Promise<void> {
    switch (example.kind) {
      case 'session':
        return this.runSession(example);
      case 'file':
        return this.write(example);
      case 'toml':
        return this.check(example);
      case 'not run':
        return;
    }
  }

  private async write({ path, content, host, user }: FileExample): Promise<void> {
    const target = path.startsWith('/') ? path : join(this.directory, path);
    const mode = content.startsWith('#!') ? '0755' : '0644';
    const script = `mkdir -p '${dirname(target)}' && cat >'${target}' && chmod ${mode} '${target}'`;
    await this.site.must(['sh', '-c', script], user, host, content);
  }

  private async check({ of, content, line }: TomlExample): Promise<void> {
    if (of === 'module') {
      const [problem] = readModule('example', 'example.toml', content).problems;
      if (problem) throw new Error(JSON.stringify(problem));
      return;
    }
    const path = `line-${line}.toml`;
    await this.write({ kind: 'file', line, path, content, host: 'login', user: 'alice' });
    const check = of === 'definition' ? 'berth env validate' : 'berth config check';
    await this.site.must(
      ['bash', '-c', `export SCRATCH=~/scratch; cd '${this.directory}' && ${check} './${path}'`],
      'alice',
    );
  }

  private async runSession(example: SessionExample): Promise<void> {
    const { commands, anyOrder } = example;
    const terminals = new Terminals(this.site, example, this.directory);
    const jobs: string[] = [];
    try {
      for (const [at, command] of commands.entries()) {
        const typed = await terminals.type(command);
        jobs.push(...submitted(typed));
        expectEnd(command, typed, at === commands.length - 1 ? example.exit : 0);
        const missing = missingLine(command.expected, typed.lines, anyOrder);
        if (missing !== undefined) throw disagreement(command, `it has not printed: ${missing}`, typed);
      }
    } finally {
      await terminals.close();
    }
    const cancelled = commands.some(({ text }) => text.startsWith('scancel'));
    for (const job of jobs) await this.waitFor(job, cancelled ? ['COMPLETED', 'CANCELLED'] : ['COMPLETED']);
  }

  /** Jobs that a session submits are to end well, before the examples after it. */
  private async waitFor(job: string, ends: readonly string[]): Promise<void> {
    let state = '';
    const running = await settled(async () => {
      const shown = await this.site.must(['scontrol', '--oneliner', 'show', 'job', job]);
      state = / JobState=(\w+)/.exec(shown)?.[1] ?? '';
      return ['PENDING', 'CONFIGURING', 'RUNNING', 'COMPLETING'].includes(state) ? [state] : [];
    }, JOB_LIMIT);
    if (running.length > 0) throw new Error(`job ${job} is still ${state}`);
    if (!ends.includes(state)) throw new Error(`job ${job} has ended as ${state}`);
  }
}

/** Those at which one session is typed: at most one for each prompt. */
class Terminals {
  private readonly open = new Map<string, Terminal>();

  constructor(
    private readonly site: ReadersSite,
    private readonly example: SessionExample,
    private readonly directory: string,
  ) {}

  async type({ prompt, text }: Command): Promise<Typed> {
    const nested = [...this.open.values()].find(({ isNested }) => isNested);
    return (nested ?? (await this.of(prompt === '#' ? 'root' : this.example.user))).type(text);
  }

  async close(): Promise<void> {
    for (const terminal of this.open.values()) await terminal.close();
  }

  private async of(user: string): Promise<Terminal> {
    const found = this.open.get(user);
    if (found) return found;
    const { cluster, environment: env } = this.site;
    const { host } = this.example;
    const terminal = await Terminal.open(cluster, { host, user, directory: this.directory, env });
    this.open.set(user, terminal);
    return terminal;
  }
}

function submitted({ lines }: Typed): string[] {
  return lines.flatMap((line) => /^Submitted batch job (\d+)$/.exec(line)?.[1] ?? []);
}

function expectEnd(command: Command, typed: Typed, status: number): void {
  if (typed.status === status) return;
  throw disagreement(command, `exit status ${typed.status} instead of ${status}`, typed);
}

function disagreement({ prompt, text }: Command, what: string, { lines }: Typed): Error {
  return new Error([`${prompt} ${text}`, what, ...lines.map((line) => `  | ${line}`)].join('\n'));
}
