import { usage } from '../arguments.js';
import type { Command } from '../command.js';

/** Only its manual page: the command itself is in C (native/client). */
export const stop: Command = {
  name: 'stop',
  summary: 'end containers that berth run has started',
  synopsis: ['stop [-t SECONDS] CONTAINER...'],
  description: [
    'Sends SIGTERM to the programs that berth run has started in these containers of yours, and kills what is left after ' +
      'some seconds. Of one in the background, all processes are killed then. CONTAINER is a name, an id that berth ps shows, ' +
      'or its beginning, at least four characters. Containers of jobs end with the job: scancel.',
  ],
  options: [{ name: 'time', letter: 't', value: 'SECONDS', description: 'Kill after so many seconds; 10 by default.' }],
  operands: ['CONTAINER...'],
  examples: [{ command: 'berth stop notebook', text: 'End the container of that name.' }],
  exitStatus: [{ status: 3, text: 'You have no such container here, or it belongs to a job.' }],
  run: () =>
    Promise.reject(
      usage('berth stop must be the first word after berth', 'options such as --socket come after stop', 'stop'),
    ),
};
