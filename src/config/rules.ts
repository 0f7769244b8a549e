import type { Config } from './keys.js';

/** A condition on more than one key. */
export interface Rule {
  /** The key that is reported, "[table] name". */
  readonly at: string;
  readonly broken: (config: Config) => boolean;
  readonly what: string;
  readonly why: string;
}

export const rules: readonly Rule[] = [
  {
    at: '[slurm] prepare',
    broken: ({ slurm }) => slurm.prepare && slurm.spoolDir === '',
    what: '[slurm] prepare is true without [slurm] spool_dir',
    why: "expected spool_dir to be the node's SlurmdSpoolDir: a prepared container must already hold it when the first step starts",
  },
  {
    at: '[store] files',
    broken: ({ store, container }) => store.files === 'fuse' && container.userns === 'off',
    what: '[store] files is "fuse" with [container] userns = "off"',
    why: 'a FUSE mount of the user\'s belongs to a user namespace: without one, use "rebuild" or "refuse"',
  },
];
