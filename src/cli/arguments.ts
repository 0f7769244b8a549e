import { parseArgs, type ParseArgsConfig } from 'node:util';
import { nearest } from '../config/index.js';
import { BerthError } from '../errors/index.js';
import { globalOptions, type Command, type Option } from './command.js';

export const DEFAULT_SOCKET = '/run/berth/berthd.sock';

export type Values = Readonly<Record<string, string | boolean | readonly string[] | undefined>>;

export interface Arguments {
  readonly values: Values;
  readonly operands: readonly string[];
}

/** The words of a command line up to the command: its global options and the command's name. */
export interface Leading {
  readonly values: Values;
  readonly command: string | undefined;
  readonly rest: readonly string[];
}

/**
 * Reads what stands before the command's name.
 *
 * @throws BerthError BERTH_USAGE
 */
export function parseLeading(argv: readonly string[]): Leading {
  const options: readonly Option[] = [...globalOptions, { name: 'version', description: '' }];
  // The first word that is neither an option nor --socket's value is the command.
  let end = 0;
  while (argv[end]?.startsWith('-')) end += argv[end] === '--socket' ? 2 : 1;
  const { values } = parse(options, argv.slice(0, end), undefined);
  return { values, command: argv[end], rest: argv.slice(end + 1) };
}

/**
 * Reads a command's options and operands.
 *
 * @throws BerthError BERTH_USAGE
 */
export function parseCommand(command: Command, argv: readonly string[]): Arguments {
  if (command.passesOptions) return takeOwn(argv, command);
  const parsed = parse([...command.options, ...globalOptions], argv, command.name);
  if (parsed.values['help'] === true) return parsed;
  const { operands } = parsed;
  const missing = command.operands.slice(operands.length).filter((name) => !name.startsWith('['));
  if (missing.length > 0) {
    throw usage(
      `berth ${command.name} needs ${command.operands.filter((name) => !name.startsWith('[')).join(' and ')}`,
      `${missing.join(' and ')} ${missing.length === 1 ? 'is' : 'are'} missing`,
      command.name,
    );
  }
  const surplus = operands[command.operands.length];
  if (surplus !== undefined && !command.operands.at(-1)?.includes('...')) {
    const expected = command.operands.length === 0 ? 'it takes no arguments' : `it takes ${command.operands.join(' ')}`;
    throw usage(`berth ${command.name} cannot take ${surplus} too`, expected, command.name);
  }
  return parsed;
}

/** The global options among words that are for another program. */
function takeOwn(argv: readonly string[], command: Command): Arguments {
  const operands: string[] = [];
  const values: Record<string, string | boolean> = {};
  for (let at = 0; at < argv.length; at++) {
    const word = argv[at] ?? '';
    const [, socket] = /^--socket=(.*)$/s.exec(word) ?? [];
    if (word === '--help' || word === '-h') values['help'] = true;
    else if (socket !== undefined) values['socket'] = socket;
    else if (word === '--socket') values['socket'] = argv[++at] ?? '';
    else operands.push(word);
  }
  if (values['socket'] === '')
    throw usage(`berth ${command.name} was called wrongly`, '--socket needs a path', command.name);
  return { values, operands };
}

function parse(options: readonly Option[], argv: readonly string[], command: string | undefined): Arguments {
  const config: NonNullable<ParseArgsConfig['options']> = {};
  for (const { name, letter, value, multiple } of options) {
    config[name] = {
      type: value === undefined ? 'boolean' : 'string',
      ...(multiple === true ? { multiple } : {}),
      ...(letter === undefined ? {} : { short: letter }),
    };
  }
  const bare = new Set(options.filter(({ value }) => value?.startsWith('[')).map(({ name }) => `--${name}`));
  try {
    const { values, positionals } = parseArgs({
      args: argv.map((word) => (bare.has(word) ? `${word}=` : word)),
      options: config,
      allowPositionals: true,
      strict: true,
    });
    return { values: values as Values, operands: positionals };
  } catch (error) {
    if (!(error instanceof TypeError) || !('code' in error)) throw error;
    throw refused(error, options, command);
  }
}

function refused(
  error: TypeError & { code: unknown },
  options: readonly Option[],
  command: string | undefined,
): BerthError {
  const subject = command === undefined ? 'berth' : `berth ${command}`;
  if (error.code === 'ERR_PARSE_ARGS_UNKNOWN_OPTION') {
    const [, option = ''] = /^Unknown option '(-[^']*)'/.exec(error.message) ?? [];
    const near = nearest(
      option.replace(/^-+/, ''),
      options.map(({ name }) => name),
    );
    const list = options.map(({ name }) => `--${name}`).join(', ');
    return usage(
      `${subject} has no option ${option}`,
      near ? `did you mean --${near}?` : `its options are ${list}`,
      command,
    );
  }
  const [first = error.message] = error.message.split('\n');
  // Node.js has this advice in further lines, and an error of Berth's has one.
  const [, taken] = /(--[^ ']+)' argument is ambiguous/.exec(first) ?? [];
  const why =
    taken === undefined ? first : `${taken} lacks its value; one that begins with a dash is written ${taken}=-…`;
  return usage(`${subject} was called wrongly`, why, command);
}

export function unknownCommand(name: string, commands: readonly Command[]): BerthError {
  const names = commands.map((command) => command.name);
  const near = nearest(name, names);
  return usage(
    `berth has no command ${name}`,
    near ? `did you mean berth ${near}?` : `its commands are ${names.join(', ')}`,
  );
}

export function usage(what: string, why: string, command = 'COMMAND'): BerthError {
  return new BerthError('BERTH_USAGE', { what, why, command: `berth ${command}` });
}
