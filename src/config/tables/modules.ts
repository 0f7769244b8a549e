import { ABSOLUTE, absolutePath, list } from '../kinds.js';

/** [modules] of berth.toml. */
export const modules = {
  directory: absolutePath({
    default: '/etc/berth/modules.d',
    description:
      'The directory with the modules, a file NAME.toml each (docs/modules.md). The files and the directories above them must ' +
      'belong to root and be writable by root alone. A change is taken up by the next container.',
  }),
  default: list({
    of: 'names of modules',
    each: /^[A-Za-z0-9][A-Za-z0-9_.+-]*$/,
    default: [],
    description:
      'Modules that every container gets, unless the user says `--module=none`. A module can also say itself when it is used.',
  }),
  cdi_directories: list({
    of: 'absolute paths',
    each: ABSOLUTE,
    default: ['/etc/cdi', '/var/run/cdi'],
    description:
      'Where the CDI specifications of devices are. Of two files that describe the same device, that in the later directory ' +
      'counts; in one directory it is an error. They belong to root as the modules do.',
  }),
} as const;
