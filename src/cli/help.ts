import { globalOptions, type Command, type Option } from './command.js';
import type { Terminal } from './terminal.js';

const WIDTH = 80;

/** The manual page of a command. */
export function commandHelp(command: Command, terminal: Terminal): string {
  const section = (title: string, lines: readonly string[]): string[] =>
    lines.length === 0 ? [] : ['', terminal.bold(title), ...lines];
  const statuses = [{ status: 0, text: 'Success.' }, ...(command.exitStatus ?? []), ...usualStatuses];
  return [
    ...section('NAME', indent(`berth ${command.name} - ${command.summary}`, 4)),
    ...section(
      'SYNOPSIS',
      command.synopsis.flatMap((line) => indent(`berth ${line}`, 4, 8)),
    ),
    ...section(
      'DESCRIPTION',
      command.description.flatMap((text, i) => [...(i > 0 ? [''] : []), ...indent(text, 4)]),
    ),
    ...section('OPTIONS', [...command.options, ...globalOptions].flatMap(optionHelp)),
    ...section(
      'EXAMPLES',
      command.examples.flatMap(({ command: line, text }) => [`    ${line}`, ...indent(text, 8)]),
    ),
    ...section(
      'EXIT STATUS',
      statuses.flatMap(({ status, text }) => indent(`${String(status).padEnd(3)} ${text}`, 4, 8)),
    ),
    ...section('ENVIRONMENT', [
      ...indent("BERTH_SOCKET  berthd's socket, where --socket is not given.", 4, 18),
      ...indent('NO_COLOR      when set and not empty, nothing is emphasised.', 4, 18),
    ]),
  ]
    .slice(1)
    .join('\n');
}

/** What `berth help` shows: all commands. */
export function overview(commands: readonly Command[], terminal: Terminal): string {
  const width = Math.max(...commands.map(({ name }) => name.length)) + 2;
  return [
    terminal.bold('NAME'),
    '    berth - containers for the ranks of Slurm jobs, one shared by each node',
    '',
    terminal.bold('SYNOPSIS'),
    '    berth [--socket PATH] COMMAND [ARGUMENT...]',
    '    srun --image=NAME ...',
    '',
    terminal.bold('COMMANDS'),
    ...commands.flatMap(({ name, summary }) => indent(`${name.padEnd(width)}${summary}`, 4, 4 + width)),
    '',
    "berth COMMAND --help shows a command's options and examples.",
  ].join('\n');
}

const usualStatuses = [
  { status: 2, text: 'The command line or the configuration is wrong.' },
  { status: 5, text: 'berthd does not answer on this node, or is of another version.' },
];

function optionHelp({ name, letter, value, description }: Option): string[] {
  const long = value === undefined ? `--${name}` : `--${name} ${value}`;
  return [`    ${letter === undefined ? '' : `-${letter}, `}${long}`, ...indent(description, 8)];
}

/** Wraps a paragraph; its lines after the first may stand further in. */
function indent(text: string, first: number, rest = first): string[] {
  const lines: string[] = [];
  let line = ' '.repeat(first);
  let empty = true;
  // Runs of blanks align columns and stay; a line breaks only at single ones.
  for (const word of text.split(/(?<! ) (?! )/)) {
    if (!empty && line.length + 1 + word.length > WIDTH) {
      lines.push(line);
      line = ' '.repeat(rest) + word;
    } else {
      line += empty ? word : ` ${word}`;
    }
    empty = false;
  }
  return [...lines, line];
}
