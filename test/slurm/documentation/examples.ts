/**
 * The examples in a page of documentation: its fenced blocks, each with what a comment on the line before it says.
 * CONTRIBUTING.md, "Examples in the documentation", has the rules for those who write them.
 */

/** Where and as whom the words of an example are typed, or its file is written. */
interface Where {
  readonly host: string;
  readonly user: string;
}

/** A command of a session, and what it has to print: lines in which "…" stands for anything. */
export interface Command {
  readonly prompt: '$' | '#';
  readonly text: string;
  readonly expected: readonly string[];
}

/** What somebody types at a terminal. */
export interface SessionExample extends Where {
  readonly kind: 'session';
  readonly line: number;
  readonly commands: readonly Command[];
  /** Exit status of the last command; the others end with 0. */
  readonly exit: number;
  /** Whether the lines of each command may come in any order, as those of several ranks do. */
  readonly anyOrder: boolean;
}

/** A file that the commands after it need. */
export interface FileExample extends Where {
  readonly kind: 'file';
  readonly line: number;
  readonly path: string;
  readonly content: string;
}

/** What a block of TOML is: berth.toml, a module or a container definition file. */
export const TOML_KINDS = ['configuration', 'module', 'definition'] as const;
export type TomlKind = (typeof TOML_KINDS)[number];

/** A text that its own reader has to find right. */
export interface TomlExample {
  readonly kind: 'toml';
  readonly line: number;
  readonly of: TomlKind;
  readonly content: string;
}

/** What cannot be tried here. */
export interface UntriedExample {
  readonly kind: 'not run';
  readonly line: number;
  readonly why: string;
}

export type Example = SessionExample | FileExample | TomlExample | UntriedExample;

/** Something in a page that is no example by the rules. */
export interface Problem {
  readonly line: number;
  readonly what: string;
}

export interface Page {
  readonly examples: readonly Example[];
  readonly problems: readonly Problem[];
}

/** Pictures. */
const NOT_EXAMPLES = ['text', 'mermaid'];

/** How a row of a table of options is tried: the table's examples are options of srun, or whole commands. */
const OPTIONS_TABLE = '| option | example |';
const withOptions = (options: string): string => `srun --image=alpine:3.20 ${options} sh -c true`;

interface Block {
  readonly line: number;
  readonly language: string;
  readonly content: readonly string[];
  /** Of the comment before it; "" without one. */
  readonly note: string;
}

/** Reads the text of a page. Never throws for a bad one. */
export function readPage(text: string): Page {
  const examples: Example[] = [];
  const problems: Problem[] = [];
  const lines = text.split('\n');
  examples.push(...readOptions(lines, problems));
  const { blocks, indented } = split(lines);
  for (const line of indented)
    problems.push({ line, what: 'an indented block is not tested: put it between lines of ```' });
  for (const block of blocks) {
    try {
      examples.push(...readBlock(block));
    } catch (error) {
      if (!(error instanceof Unreadable)) throw error;
      problems.push({ line: block.line, what: error.message });
    }
  }
  return { examples, problems: problems.toSorted((a, b) => a.line - b.line) };
}

class Unreadable extends Error {}

function split(lines: readonly string[]): { blocks: Block[]; indented: number[] } {
  const blocks: Block[] = [];
  const indented: number[] = [];
  for (let at = 0; at < lines.length; at++) {
    const line = lines[at] ?? '';
    const fence = /^(`{3,})(.*)$/.exec(line);
    if (fence) {
      const [, ticks = '', language = ''] = fence;
      const end = lines.indexOf(ticks, at + 1);
      const last = end < 0 ? lines.length : end;
      const [, note = ''] = /^<!-- example: (.*) -->$/.exec(lines[at - 1] ?? '') ?? [];
      blocks.push({ line: at + 1, language, content: lines.slice(at + 1, last), note });
      at = last;
    } else if (/^ {4,}\S/.test(line) && (lines[at - 1] ?? '') === '' && !followsList(lines, at)) {
      indented.push(at + 1);
    }
  }
  return { blocks, indented };
}

/** In a list, four spaces are a paragraph of the point before. */
function followsList(lines: readonly string[], at: number): boolean {
  for (let before = at - 1; before >= 0; before--) {
    const line = lines[before] ?? '';
    if (/^\s*([-*]|\d+\.) /.test(line)) return true;
    if (/^\S/.test(line)) return false;
  }
  return false;
}

function readOptions(lines: readonly string[], problems: Problem[]): SessionExample[] {
  const title = lines.findIndex((line) => line.startsWith(OPTIONS_TABLE));
  if (title < 0) return [];
  // After the title there is a line of dashes.
  const rest = lines.slice(title + 2);
  const end = rest.findIndex((line) => !line.startsWith('|'));
  const commands = rest.slice(0, end).map((row, at): Command => {
    const example = /^\| (?:[^|\\]|\\.)+ \| `([^`]+)` \|/.exec(row)?.[1] ?? '';
    if (example === '') problems.push({ line: title + 3 + at, what: 'an option without an example' });
    const text = example.startsWith('s') ? example : withOptions(example);
    return { prompt: '$', text, expected: [] };
  });
  return [{ kind: 'session', line: title + 1, host: 'login', user: 'alice', commands, exit: 0, anyOrder: false }];
}

function readBlock(block: Block): Example[] {
  const { line, language, content } = block;
  const [, why] = /^not run, (.+)$/.exec(block.note) ?? [];
  if (why !== undefined) return [{ kind: 'not run', line, why }];
  const note = readNote(block.note);
  const where = { host: note.get('host') ?? 'login', user: note.get('user') };
  const text = `${content.join('\n')}\n`;
  const path = note.get('file') ?? note.get('batch');
  if (path !== undefined) {
    const user = where.user ?? (path.startsWith('/') ? 'root' : 'alice');
    const file: FileExample = { kind: 'file', line, path, content: text, host: where.host, user };
    return note.has('batch') ? [file, batchOf(file)] : [file];
  }
  if (language === 'console') return [readSession(block, note, { host: where.host, user: where.user ?? 'alice' })];
  const of = TOML_KINDS.find((kind) => note.has(kind)) ?? 'configuration';
  if (language === 'toml') return [{ kind: 'toml', line, of, content: text }];
  if (NOT_EXAMPLES.includes(language)) return [];
  throw new Unreadable(`nobody knows how to test a block of "${language}": make it console, or say file= before it`);
}

function batchOf({ line, path, host, user }: FileExample): SessionExample {
  const commands = [{ prompt: '$', text: `sbatch ${path}`, expected: ['Submitted batch job …'] }] as const;
  return { kind: 'session', line, host, user, commands, exit: 0, anyOrder: false };
}

const NOTES: Readonly<Record<string, RegExp | undefined>> = {
  host: /^(login|n\d+)$/,
  user: /^(alice|bob|carol|root)$/,
  exit: /^\d+$/,
  file: /^[\w./-]+$/,
  batch: /^[\w./-]+$/,
};
const FLAGS: readonly string[] = ['any-order', ...TOML_KINDS];

function readNote(note: string): Map<string, string> {
  const words = new Map<string, string>();
  for (const word of note.split(' ').filter((each) => each !== '')) {
    const [, name = '', value = ''] = /^([^=]*)=?(.*)$/.exec(word) ?? [];
    const known = word.includes('=') ? NOTES[name]?.test(value) === true : FLAGS.includes(name);
    if (!known) throw new Unreadable(`"${word}" says nothing about an example`);
    words.set(name, value);
  }
  return words;
}

function readSession({ line, content }: Block, note: Map<string, string>, where: Where): SessionExample {
  const commands: { prompt: '$' | '#'; text: string; expected: string[] }[] = [];
  for (let at = 0; at < content.length; at++) {
    const [, prompt, first = ''] = /^([$#]) (.*)$/.exec(content[at] ?? '') ?? [];
    if (prompt === '$' || prompt === '#') {
      let text = first;
      while (text.endsWith('\\')) text = text.slice(0, -1) + (content[++at] ?? '').trimStart();
      commands.push({ prompt, text, expected: [] });
    } else {
      const command = commands.at(-1);
      if (command === undefined) throw new Unreadable('a session begins with a command, after "$ " or "# "');
      command.expected.push(content[at] ?? '');
    }
  }
  const exit = Number(note.get('exit') ?? 0);
  return { kind: 'session', line, ...where, commands, exit, anyOrder: note.has('any-order') };
}

/**
 * Looks for what a command has to print in what it printed, where more may stand between the lines. Blanks at the end of
 * lines and how many there are between words do not count.
 *
 * @returns the first line that is missing, or undefined
 */
export function missingLine(
  expected: readonly string[],
  printed: readonly string[],
  anyOrder: boolean,
): string | undefined {
  const rest = [...printed];
  return expected.find((line) => {
    if (line.trim() === '') return false;
    const pattern = patternOf(line);
    const found = rest.findIndex((each) => pattern.test(each));
    if (found < 0) return true;
    if (anyOrder) rest.splice(found, 1);
    else rest.splice(0, found + 1);
    return false;
  });
}

function patternOf(line: string): RegExp {
  const words = line.trim().split(/\s+/);
  const escaped = words.map((word) =>
    word
      .split('…')
      .map((part) => part.replace(/[\\^$.*+?()[\]{}|]/g, '\\$&'))
      .join('.*'),
  );
  return new RegExp(`^\\s*${escaped.join('\\s+')}\\s*$`);
}
