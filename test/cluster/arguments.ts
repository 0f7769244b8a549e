/** Reading the command line. */
import { parseArgs, type ParseArgsConfig } from 'node:util';
import { ClusterError, errorMessage } from './errors.js';
import { commandHelp, type CommandName } from './help.js';

/** A mistake on the command line. */
export class UsageError extends ClusterError {}

/** Options and operands of one command. */
export interface Arguments {
  readonly values: Readonly<Record<string, string | boolean | (string | boolean)[] | undefined>>;
  readonly operands: readonly string[];
  /** What follows "--". */
  readonly command: readonly string[];
}

const options: Readonly<Record<CommandName, NonNullable<ParseArgsConfig['options']>>> = {
  up: {
    nodes: { type: 'string' },
    'berth-config': { type: 'string' },
    'slurm-conf': { type: 'string' },
    'slurm-file': { type: 'string', multiple: true },
    'plugstack-args': { type: 'string' },
    'no-berth': { type: 'boolean' },
    'no-daemon': { type: 'string' },
    json: { type: 'boolean' },
  },
  exec: { user: { type: 'string' }, env: { type: 'string', multiple: true } },
  daemon: { config: { type: 'string' }, env: { type: 'string', multiple: true } },
  status: { json: { type: 'boolean' } },
  down: {},
};

export function isCommandName(name: string | undefined): name is CommandName {
  return name !== undefined && Object.hasOwn(commandHelp, name);
}

/** Takes the arguments of a command apart. @throws UsageError */
export function parseArguments(command: CommandName, argv: readonly string[]): Arguments {
  const separator = argv.indexOf('--');
  const own = separator === -1 ? argv : argv.slice(0, separator);
  try {
    const { values, positionals } = parseArgs({
      args: [...own],
      options: { ...options[command], dir: { type: 'string' }, help: { type: 'boolean', short: 'h' } },
      allowPositionals: true,
    });
    return { values, operands: positionals, command: separator === -1 ? [] : argv.slice(separator + 1) };
  } catch (error) {
    throw usage(command, errorMessage(error));
  }
}

/** What to throw for a mistake on the command line. */
export function usage(command: CommandName, why: string): UsageError {
  return new UsageError(`cluster ${command}`, why, `See: npm run cluster -- ${command} --help`);
}

export function text(command: CommandName, parsed: Arguments, name: string): string | undefined {
  const value = parsed.values[name];
  if (value === undefined || typeof value === 'string') return value;
  throw usage(command, `--${name} needs one value`);
}

export function requiredText(command: CommandName, parsed: Arguments, name: string): string {
  const value = text(command, parsed, name);
  if (value === undefined || value === '') throw usage(command, `--${name} is missing`);
  return value;
}

/** Values of an option that may be repeated. */
export function texts(parsed: Arguments, name: string): string[] {
  const value = parsed.values[name];
  return Array.isArray(value) ? value.filter((each) => typeof each === 'string') : [];
}

/** The values of all --env options. */
export function environment(command: CommandName, parsed: Arguments): Record<string, string> {
  return Object.fromEntries(
    texts(parsed, 'env').map((assignment) => {
      const separator = assignment.indexOf('=');
      if (separator < 1) throw usage(command, `--env ${assignment} is not NAME=VALUE`);
      return [assignment.slice(0, separator), assignment.slice(separator + 1)];
    }),
  );
}

/** Exactly these many operands. */
export function operands<const Names extends readonly string[]>(
  command: CommandName,
  parsed: Arguments,
  names: Names,
): { readonly [Index in keyof Names]: string } {
  const missing = names[parsed.operands.length];
  if (missing !== undefined) throw usage(command, `${missing} is missing`);
  const extra = parsed.operands[names.length];
  if (extra !== undefined) throw usage(command, `unexpected argument ${extra}`);
  return names.map((_name, index) => parsed.operands[index] ?? '') as { readonly [Index in keyof Names]: string };
}
