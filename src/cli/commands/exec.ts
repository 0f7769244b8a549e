import { usage } from '../arguments.js';
import type { Command } from '../command.js';

/** Only its manual page: the command itself is in C (native/client), which starts in a millisecond. */
export const exec: Command = {
  name: 'exec',
  summary: 'run a command in a container that is running on this node',
  synopsis: [
    'exec [-w DIR] [-e NAME=VALUE]... CONTAINER COMMAND [ARGUMENT...]',
    'exec --job JOBID [-w DIR] [-e NAME=VALUE]... COMMAND [ARGUMENT...]',
  ],
  description: [
    'Enters one of your containers, beside its ranks, and runs a command there: to look at files, to attach a debugger, ' +
      'to see what a rank sees. CONTAINER is the id that berth ps shows, or its beginning, at least four characters.',
    'The command has this terminal and this standard input; --interactive and --tty are taken and change nothing. It runs ' +
      "where you called it, not in the job's cgroup. On a node whose containers have no user namespace it is started " +
      'through srun --overlap instead.',
  ],
  options: [
    { name: 'job', letter: 'j', value: 'JOBID', description: 'The container of this job on this node.' },
    { name: 'workdir', letter: 'w', value: 'DIR', description: 'Start in this directory of the container.' },
    { name: 'env', letter: 'e', value: 'NAME=VALUE', description: 'Set a variable for the command. May be repeated.' },
    { name: 'interactive', letter: 'i', description: 'For compatibility; has no effect.' },
    { name: 'tty', letter: 't', description: 'For compatibility; has no effect.' },
  ],
  operands: ['[ARGUMENT...]'],
  examples: [
    { command: 'berth exec 3fa9 bash', text: 'A shell in the container whose id begins with 3fa9.' },
    { command: 'berth exec --job 4711 gdb -p 20133', text: 'A debugger from the image, on a rank of job 4711.' },
  ],
  exitStatus: [
    { status: 125, text: 'berth itself failed, for whatever reason.' },
    { status: 126, text: 'The command was found, but cannot be run.' },
    { status: 127, text: 'The command is not in the container.' },
  ],
  noUsualStatus: true,
  run: () =>
    Promise.reject(
      usage('berth exec must be the first word after berth', 'options such as --socket come after exec', 'exec'),
    ),
};
