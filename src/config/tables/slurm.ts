import { absolutePath, flag } from '../kinds.js';

/** [slurm] of berth.toml. */
export const slurm = {
  spool_dir: absolutePath({
    default: '',
    orEmpty: true,
    description:
      "Slurm's `SlurmdSpoolDir` on this node, with `%h` and `%n` replaced, as `scontrol show config` has it. A launch " +
      'gets it from slurmd; berthd needs it here only to prepare containers before a job starts.',
  }),
  prepare: flag({
    default: false,
    description:
      "Whether the prolog may build a job's container (`salloc --image`, `sbatch --image`) on each node before its first " +
      'step. Needs `[slurm] spool_dir`, and the plugin `spank_berth_prolog.so` in `plugstack.conf`.',
  }),
} as const;
