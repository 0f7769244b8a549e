import type { Call, Option } from './command.js';

/** srun's options for the inside of a container, for commands that take the same. */
export const containerOptions: readonly Option[] = [
  repeated('volume', 'SRC:DST[:FLAGS][;…]', 'Mount SRC at DST.'),
  repeated('container-mounts', 'SRC:DST[:FLAGS][,…]', 'The same, with commas between the volumes.'),
  one('container-workdir', 'PATH', 'Where programs start.'),
  one('container-name', 'NAME[:MODE]', 'Share the container of that name; MODE is auto, create, exec or no_exec.'),
  one('container-save', 'FILE', 'Save the container as an image file when the step ends.'),
  on('container-mount-home', "Mount the user's home directory."),
  on('no-container-mount-home', 'Leave it out.'),
  on('container-remap-root', 'Be root in the container.'),
  on('no-container-remap-root', 'Be who you are.'),
  on('container-entrypoint', "Start programs by the image's entrypoint."),
  on('no-container-entrypoint', 'Start them directly.'),
  on('container-entrypoint-log', 'Show what the entrypoint prints.'),
  {
    name: 'container-writable',
    value: '[SIZE|DIR]',
    description:
      'Let programs write anywhere: in memory, up to SIZE, or in the directory DIR: --container-writable=2G.',
  },
  on('container-readonly', 'Let them write only to volumes.'),
  repeated('container-env', 'NAME[,NAME…]', "Keep these variables as they are outside, instead of the image's."),
  repeated('env', 'NAME=VALUE', 'Set a variable.'),
  one('container-unshare', 'net,ipc,uts', 'Give the container such namespaces of its own.'),
  repeated('module', 'NAME[,NAME…]|none', "Use these modules of the site's."),
];

/** Those that a command was given, as berthd reads them. */
export function writtenOptions({ flag, values, value }: Call): { name: string; value: string }[] {
  return containerOptions.flatMap((option) => {
    const { name } = option;
    if (option.value === undefined) return flag(name) ? [{ name, value: '' }] : [];
    const given = option.multiple ? values(name) : [value(name)];
    return given.flatMap((text) => (text === undefined ? [] : [{ name, value: text }]));
  });
}

function one(name: string, value: string, description: string): Option {
  return { name, value, description };
}

function repeated(name: string, value: string, description: string): Option {
  return { name, value, description, multiple: true };
}

function on(name: string, description: string): Option {
  return { name, description };
}
