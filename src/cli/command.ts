import type { Terminal } from './terminal.js';

/** An option of a command; every option is long, and may have a letter too. */
export interface Option {
  readonly name: string;
  readonly letter?: string;
  /**
   * What stands for its value in the help, e.g. "PATH". In brackets, it may be left out, and else stands behind "=". An
   * option without one is a switch.
   */
  readonly value?: string;
  /** May be given more than once; {@link Call.values} has them all. */
  readonly multiple?: true;
  /** Of use to Berth itself alone: neither in the help nor completed. */
  readonly internal?: true;
  readonly description: string;
}

/** The options and arguments a command was called with, after checking. */
export interface Call {
  /** Is the switch set? */
  readonly flag: (name: string) => boolean;
  /** The option's value, if given. */
  readonly value: (name: string) => string | undefined;
  /** All values of an option that may be given more than once. */
  readonly values: (name: string) => readonly string[];
  readonly operands: readonly string[];
  /** berthd's socket. */
  readonly socket: string;
  readonly terminal: Terminal;
}

/** One command of the command line: what it is called with, its manual page, and what it does. */
export interface Command {
  readonly name: string;
  /** One line, after the command's name in the list. */
  readonly summary: string;
  /** Without "berth". */
  readonly synopsis: readonly string[];
  /** Paragraphs. */
  readonly description: readonly string[];
  readonly options: readonly Option[];
  /** What its operands are called, in order; "[FILE]" may be left out, and "[ARGUMENT...]" stands for all that follow. */
  readonly operands: readonly string[];
  readonly examples: readonly { readonly command: string; readonly text: string }[];
  /** Exit statuses besides 0 and the usual ones; for one of these, this command's own words. */
  readonly exitStatus?: readonly { readonly status: number; readonly text: string }[];
  /** Ends with none of the usual ones but those in `exitStatus`. */
  readonly noUsualStatus?: true;
  /** Has options of another program too: `operands` are all words, as they were given, --help and --socket excepted. */
  readonly passesOptions?: true;
  /** Returns the exit status; throws errors of the table. */
  readonly run: (call: Call) => Promise<number>;
}

export const json: Option = {
  name: 'json',
  description: 'Write JSON for programs instead of text for people. Sizes are bytes, times seconds since the epoch.',
};

/** Options that every command takes. */
export const globalOptions: readonly Option[] = [
  {
    name: 'socket',
    value: 'PATH',
    description: "berthd's socket, instead of $BERTH_SOCKET or /run/berth/berthd.sock.",
  },
  { name: 'help', letter: 'h', description: 'Show this help.' },
];
