import { usage } from '../arguments.js';
import type { Command } from '../command.js';

/** Only its manual page: the command itself is in C (native/client). */
export const wait: Command = {
  name: 'wait',
  summary: 'wait until containers in the background have ended',
  synopsis: ['wait CONTAINER...'],
  description: [
    'Waits until these containers that berth run --detach has started here have ended, and prints the exit status of the ' +
      'command of each: a line for each, in this order; 128 and the number of the signal for one that a signal has ended. One ' +
      'that has ended already is told of as long as its log is kept. CONTAINER is a name, an id, or the beginning of an id, at ' +
      'least four characters.',
  ],
  options: [],
  operands: ['CONTAINER...'],
  examples: [{ command: 'exit $(berth wait analysis)', text: 'End a script as the container of that name has ended.' }],
  exitStatus: [
    { status: 1, text: 'How one has ended is not known.' },
    { status: 3, text: 'There is no such container on this host, nor was there lately.' },
  ],
  run: () =>
    Promise.reject(
      usage('berth wait must be the first word after berth', 'options such as --socket come after wait', 'wait'),
    ),
};
