import { unknownCommand } from '../arguments.js';
import type { Command } from '../command.js';
import { commandHelp, overview } from '../help.js';

/** @param commands all of them, this one too once it is there. */
export const makeHelp = (commands: () => readonly Command[]): Command => ({
  name: 'help',
  summary: "show all commands, or one command's manual",
  synopsis: ['help [COMMAND]'],
  description: ['Shows the list of commands, or what berth COMMAND --help shows.'],
  options: [],
  operands: ['[COMMAND]'],
  examples: [{ command: 'berth help import', text: 'How images are imported.' }],
  run: ({ operands: [name], terminal }) => {
    const command = commands().find((one) => one.name === name);
    if (name !== undefined && !command) return Promise.reject(unknownCommand(name, commands()));
    terminal.print(command ? commandHelp(command, terminal) : overview(commands(), terminal));
    return Promise.resolve(0);
  },
});
