import { manualText, type ManualPage } from '../manual/index.js';
import { globalOptions, type Command, type Option } from './command.js';
import type { Terminal } from './terminal.js';

/** What the help and completion tell of. */
export function shownOptions(command: Command): Option[] {
  return [...command.options, ...globalOptions].filter(({ internal }) => !internal);
}

/** The manual page of a command. */
export function commandManual(command: Command): ManualPage {
  const own = command.exitStatus ?? [];
  const usual = usualStatuses.filter(
    ({ status }) => !command.noUsualStatus && !own.some((one) => one.status === status),
  );
  const statuses = [{ status: 0, text: 'Success.' }, ...own, ...usual].sort((a, b) => a.status - b.status);
  return {
    name: `berth ${command.name}`,
    summary: command.summary,
    synopsis: command.synopsis.map((line) => `berth ${line}`),
    sections: [
      { title: 'DESCRIPTION', entries: command.description },
      { title: 'OPTIONS', entries: shownOptions(command).map(optionEntry) },
      { title: 'EXAMPLES', entries: command.examples.map(({ command: term, text }) => ({ term, text })) },
      {
        title: 'EXIT STATUS',
        entries: statuses.map(({ status, text }) => ({ term: String(status), text })),
        beside: 4,
      },
      environment,
    ],
  };
}

/** The manual page of `berth` itself: all commands. */
export function overviewManual(commands: readonly Command[]): ManualPage {
  return {
    name: 'berth',
    summary: 'containers for the ranks of Slurm jobs, one shared by each node',
    synopsis: ['berth [--socket PATH] COMMAND [ARGUMENT...]', 'srun --image=NAME ...'],
    sections: [
      {
        title: 'COMMANDS',
        entries: [
          ...commands.map(({ name, summary }) => ({ term: name, text: summary })),
          "berth COMMAND --help shows a command's options and examples.",
        ],
        beside: Math.max(...commands.map(({ name }) => name.length)) + 2,
      },
    ],
  };
}

/** What `berth COMMAND --help` shows. */
export function commandHelp(command: Command, terminal: Terminal): string {
  return manualText(commandManual(command), (title) => terminal.bold(title));
}

/** What `berth help` shows. */
export function overview(commands: readonly Command[], terminal: Terminal): string {
  return manualText(overviewManual(commands), (title) => terminal.bold(title));
}

const usualStatuses = [
  { status: 2, text: 'The command line or the configuration is wrong.' },
  { status: 5, text: 'berthd does not answer on this node, or is of another version.' },
];

const environment = {
  title: 'ENVIRONMENT',
  entries: [
    { term: 'BERTH_SOCKET', text: "berthd's socket, where --socket is not given." },
    { term: 'NO_COLOR', text: 'when set and not empty, nothing is emphasised.' },
  ],
  beside: 14,
};

function optionEntry({ name, letter, value, description }: Option): { term: string; text: string } {
  const long = value === undefined ? `--${name}` : `--${name} ${value}`;
  return { term: `${letter === undefined ? '' : `-${letter}, `}${long}`, text: description };
}
