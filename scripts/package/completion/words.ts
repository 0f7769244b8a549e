import type { Command, Option } from '../../../src/cli/command.js';
import { commands } from '../../../src/cli/commands/index.js';
import { globalOptions } from '../../../src/cli/command.js';
import { shownOptions } from '../../../src/cli/help.js';

/** What a word of a command line may be. A list of words is just those. */
export type Words = readonly string[] | 'images' | 'containers' | 'files' | 'directories' | 'users' | 'groups' | 'any';

export interface CompletedOption {
  readonly name: string;
  readonly letter: string | undefined;
  /** What the help calls its value, and what that may be; undefined for a switch. */
  readonly value: { readonly label: string; readonly words: Words } | undefined;
  readonly multiple: boolean;
  /** One sentence. */
  readonly description: string;
}

export interface CompletedCommand {
  readonly name: string;
  readonly summary: string;
  readonly options: readonly CompletedOption[];
  readonly operands: readonly { readonly label: string; readonly words: Words }[];
  /** May the last operand be repeated? */
  readonly repeats: boolean;
}

/** Operands that are in no store of this node, or mean more than their name says. */
const OPERANDS: Readonly<Record<string, Readonly<Record<string, Words>>>> = {
  pull: { IMAGE: 'any' },
  migrate: { IMAGE: 'any' },
  explain: { IMAGE: 'images' },
  images: { '[NAME]': 'images' },
  export: { DESTINATION: 'files' },
  build: { '[ARGUMENT...]': 'directories' },
  exec: { '[ARGUMENT...]': 'containers' },
};

const BY_LABEL: Readonly<Record<string, Words>> = {
  IMAGE: 'images',
  SOURCE: 'files',
  FILE: 'files',
  PATH: 'files',
  'FILE|NAME': 'files',
  'SIZE|DIR': 'directories',
  DIR: 'directories',
  USER: 'users',
  GROUP: 'groups',
};

/** The options before a command's name. */
export const leadingOptions: readonly CompletedOption[] = [
  ...globalOptions.map(completedOption),
  { name: 'version', letter: undefined, value: undefined, multiple: false, description: 'Show the version' },
];

/** Every command of the table, as shells complete it. */
export const completedCommands: readonly CompletedCommand[] = commands.map(completedCommand);

function completedCommand(command: Command): CompletedCommand {
  return {
    name: command.name,
    summary: command.summary,
    options: shownOptions(command).map(completedOption),
    operands: command.operands.map((operand) => {
      const label = operand.replace(/^\[(.*)\]$/, '$1').replace(/\.\.\.$/, '');
      return { label, words: OPERANDS[command.name]?.[operand] ?? wordsOf(label) };
    }),
    repeats: command.operands.at(-1)?.includes('...') ?? false,
  };
}

function completedOption({ name, letter, value, multiple, description }: Option): CompletedOption {
  return {
    name,
    letter,
    value: value === undefined ? undefined : { label: value, words: wordsOf(value) },
    multiple: multiple ?? false,
    description: firstSentence(description),
  };
}

function wordsOf(label: string): Words {
  if (label === 'COMMAND') return commands.map(({ name }) => name);
  if (/^[a-z]+(\|[a-z]+)+$/.test(label)) return label.split('|');
  return BY_LABEL[label] ?? 'any';
}

function firstSentence(text: string): string {
  return /^(.*? .*?[^.])[.:;](?: |$)/.exec(text)?.[1] ?? text;
}

/** The spellings of an option, as "-t" and "--tag". */
export function spellings({ name, letter }: CompletedOption): string[] {
  return [...(letter === undefined ? [] : [`-${letter}`]), `--${name}`];
}

/** Programs that list what changes: they end after 2 s whatever becomes of berthd. */
export const IMAGES = `timeout 2 berth images --json 2>/dev/null | sed -n 's/^ *"name": "\\([^"\\\\]*\\)",*$/\\1/p'`;
export const CONTAINERS = `timeout 2 berth ps --json 2>/dev/null | sed -n 's/^ *"id": "\\([^"\\\\]*\\)",*$/\\1/p'`;
