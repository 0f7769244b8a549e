import { usage } from '../arguments.js';
import type { Command } from '../command.js';
import { containerOptions } from '../container-options.js';

/** srun's cannot be relative: it is the node that looks for them. */
const VOLUME =
  'Mount SRC at DST. SRC is a whole path, or begins with "." or "..": of the directory where this is called.';

/** Only its manual page: the command itself is in C (native/client), which starts in a millisecond. */
export const run: Command = {
  name: 'run',
  summary: 'run a command in a container here, without Slurm',
  synopsis: ['run [OPTIONS] IMAGE [COMMAND [ARGUMENT...]]'],
  description: [
    'Runs a command in a container of IMAGE on this host: the same container that srun --image=IMAGE would give it, with ' +
      "your rights and no others. Without a command it is the image's own (ENTRYPOINT and CMD). IMAGE is a name, which is " +
      'pulled where it is missing, or a file: /data/app.sqsh, ./app.sqsh.',
    'The process becomes the command, which so has this terminal, this standard input, and its exit status. Runs of yours at ' +
      'the same time share one container where image and options are the same; it is let go of when the last of them ends. ' +
      'Called in a step of a Slurm job, it is a container of the job.',
    'With --detach the command runs in the background, in a container of its own, whose id is printed. What it prints is kept ' +
      "for berth logs. The container is there until the command, and all that it has started, have ended; logging out doesn't " +
      'matter.',
  ],
  options: [
    { name: 'detach', letter: 'd', description: 'Run in the background, and print the id of the container.' },
    {
      name: 'name',
      value: 'NAME',
      description:
        'Call the container so, for berth exec, stop and logs. It is an error where there is one of that name.',
    },
    {
      name: 'env',
      letter: 'e',
      value: 'NAME[=VALUE]',
      description: 'Set a variable; without a value, to the one it has here. May be repeated.',
    },
    {
      name: 'env-file',
      value: 'FILE',
      description: 'Set those of a file, a line NAME[=VALUE] each. What begins with # is left out. May be repeated.',
    },
    { name: 'workdir', letter: 'w', value: 'DIR', description: 'Start in this directory of the container.' },
    { name: 'root', description: 'Be root in the container, with no more rights outside than before.' },
    {
      name: 'writable',
      value: '[SIZE|DIR]',
      description: 'Let files be changed, in memory up to SIZE, or in the directory DIR: --writable, --writable=4G.',
    },
    { name: 'read-only', description: "Let the container's files not be changed." },
    {
      name: 'entrypoint',
      value: '[PROGRAM]',
      description: "Start the command by the image's entrypoint, or by PROGRAM: --entrypoint, --entrypoint=PROGRAM.",
    },
    { name: 'no-entrypoint', description: "Start the command without the image's entrypoint." },
    { name: 'no-home', description: 'Leave the home directory out.' },
    { name: 'unshare', value: 'net,ipc,uts', description: 'Give the container such namespaces of its own.' },
    {
      name: 'pull',
      value: 'missing|never',
      description: 'Whether an image that is not there is pulled. It is, unless this says never.',
    },
    { name: 'interactive', letter: 'i', description: 'For compatibility; has no effect.' },
    { name: 'tty', letter: 't', description: 'For compatibility; has no effect.' },
    { name: 'rm', description: 'For compatibility: a container never stays.' },
    ...containerOptions
      .filter(({ name }) => name !== 'env' && name !== 'container-save')
      .map((option) => (option.name === 'volume' ? { ...option, letter: 'v', description: VOLUME } : option)),
  ],
  operands: ['[ARGUMENT...]'],
  examples: [
    { command: 'berth run -it ubuntu:24.04 bash', text: 'A shell in a container.' },
    {
      command: 'berth run -v $PWD:/work -w /work --root --writable debian:12 make install',
      text: 'As root in there, with this directory as /work.',
    },
    {
      command: 'berth run -d --name notebook jupyter/base-notebook jupyter lab',
      text: 'In the background: berth logs -f notebook, berth stop notebook.',
    },
  ],
  exitStatus: [
    { status: 125, text: 'berth itself failed, for whatever reason.' },
    { status: 126, text: 'The command was found, but cannot be run.' },
    { status: 127, text: 'The command is not in the container.' },
  ],
  noUsualStatus: true,
  run: () =>
    Promise.reject(
      usage('berth run must be the first word after berth', 'options such as --socket come after run', 'run'),
    ),
};
