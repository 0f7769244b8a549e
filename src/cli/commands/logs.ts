import { usage } from '../arguments.js';
import type { Command } from '../command.js';

/** Only its manual page: the command itself is in C (native/client). */
export const logs: Command = {
  name: 'logs',
  summary: 'show what a container in the background has printed',
  synopsis: ['logs [-f] CONTAINER'],
  description: [
    'Prints what the programs of a container that berth run --detach has started have written to standard output and standard ' +
      'error, and how its command has ended, on standard error, when it has. CONTAINER is its name or id, or the beginning of ' +
      'the id, at least four characters.',
    'Logs lie in $XDG_STATE_HOME/berth/logs/HOST, or in .local/state below your home directory: of each container its last ' +
      '8 to 16 MiB, and of each host the last 20. Starting another one removes the oldest of those that have ended.',
  ],
  options: [{ name: 'follow', letter: 'f', description: 'Go on until the container has ended.' }],
  operands: ['CONTAINER'],
  examples: [{ command: 'berth logs -f notebook', text: 'Watch what it prints.' }],
  exitStatus: [{ status: 3, text: 'There is no such log on this host.' }],
  run: () =>
    Promise.reject(
      usage('berth logs must be the first word after berth', 'options such as --socket come after logs', 'logs'),
    ),
};
