import type { Command } from '../command.js';
import { untilInterrupted } from '../interrupt.js';
import { authfileFor, logOut, parseRegistry } from '../pull/credentials.js';

export const logout: Command = {
  name: 'logout',
  summary: 'forget the credentials for a registry',
  synopsis: ['logout [--authfile FILE] REGISTRY'],
  description: [
    'Removes what berth login has kept. Credentials in other files, such as those of docker login, stay and are used by the ' +
      'next pull.',
  ],
  options: [{ name: 'authfile', value: 'FILE', description: 'The file that berth login was given.' }],
  operands: ['REGISTRY'],
  examples: [{ command: 'berth logout ghcr.io', text: 'The next pull from there is without credentials.' }],
  run: ({ operands, value, terminal }) =>
    untilInterrupted(terminal, async (signal) => {
      const registry = parseRegistry(operands[0] ?? '', 'logout');
      await logOut(registry, authfileFor(value('authfile')), signal);
      terminal.print(`logged out of ${registry}`);
      return 0;
    }),
};
