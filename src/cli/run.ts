import { formatError, toErrorMessage } from '../errors/index.js';
import { DEFAULT_SOCKET, parseCommand, parseLeading, unknownCommand, type Values } from './arguments.js';
import type { Command } from './command.js';
import { commands, internalCommands } from './commands/index.js';
import { commandHelp, overview } from './help.js';
import type { Terminal } from './terminal.js';

/** Runs one command line (without "berth") and returns its exit status. Errors are printed, never thrown. */
export async function run(
  argv: readonly string[],
  terminal: Terminal,
  env: Readonly<Record<string, string | undefined>>,
): Promise<number> {
  try {
    return await dispatch(argv, terminal, env);
  } catch (error) {
    const message = toErrorMessage(error);
    terminal.warn(formatError(message));
    return message.exitStatus;
  }
}

async function dispatch(
  argv: readonly string[],
  terminal: Terminal,
  env: Readonly<Record<string, string | undefined>>,
): Promise<number> {
  const leading = parseLeading(argv);
  const name = leading.values['version'] === true ? 'version' : leading.command;
  if (leading.values['help'] === true) {
    terminal.print(name === undefined ? overview(commands, terminal) : commandHelp(find(name), terminal));
    return 0;
  }
  if (name === undefined) {
    terminal.warn(overview(commands, terminal));
    return 2;
  }
  const command = find(name);
  const { values, operands } = parseCommand(command, leading.values['version'] === true ? [] : leading.rest);
  if (values['help'] === true) {
    terminal.print(commandHelp(command, terminal));
    return 0;
  }
  const socket = text(values, 'socket') ?? text(leading.values, 'socket') ?? env['BERTH_SOCKET'] ?? '';
  return command.run({
    flag: (option) => values[option] === true,
    value: (option) => text(values, option),
    values: (option) => list(values, option),
    operands,
    socket: socket === '' ? DEFAULT_SOCKET : socket,
    terminal,
  });
}

function find(name: string): Command {
  const command = [...commands, ...internalCommands].find((one) => one.name === name);
  if (command) return command;
  throw unknownCommand(name, commands);
}

function text(values: Values, name: string): string | undefined {
  const value = values[name];
  return typeof value === 'string' ? value : undefined;
}

function list(values: Values, name: string): readonly string[] {
  const value = values[name];
  return typeof value === 'object' ? value : [];
}
