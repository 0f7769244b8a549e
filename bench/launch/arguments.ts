/** The command line of the launch bench. */
import { processorsPerNode } from '../../test/cluster/slurm-configuration.js';
import {
  commonOptions,
  commonUsage,
  parseOptions,
  wholeNumber,
  wholeNumbers,
  type CommonOptions,
} from '../arguments.js';
import type { Plan } from './rounds.js';

export const usage = `What a launch with Berth costs, compared with bare srun, podman and Charliecloud.

Usage: npm run bench -- launch [OPTION...]

Starts a private Slurm cluster on this machine, launches the same program in every way, over and over in turn, and says
how long each took. Takes about three minutes, needs root, and leaves nothing behind but the Debian packages that it
installs when they are missing (podman, crun, Charliecloud). Best run while nothing else does.

Options:
  --rounds N          rounds, each with every launch once; the first is not counted (default: 9)
  --slow-rounds N     counted rounds that have podman, which takes seconds at 32 ranks (default: 3)
  --ranks N,N,...     ranks of a launch, 1 to ${String(processorsPerNode)} (default: 1,8,32)
  --idle-seconds N    how long berthd is watched doing nothing; 0 to leave it out (default: 60)
  --settle-seconds N  how long after the last launch that begins (default: 10)
${commonUsage}`;

export interface Options extends Plan, CommonOptions {
  readonly idleSeconds: number;
  readonly settleSeconds: number;
}

/** @throws UsageError */
export function readArguments(argv: readonly string[]): Options {
  const values = parseOptions(argv, {
    rounds: { type: 'string', default: '9' },
    'slow-rounds': { type: 'string', default: '3' },
    ranks: { type: 'string', default: '1,8,32' },
    'idle-seconds': { type: 'string', default: '60' },
    'settle-seconds': { type: 'string', default: '10' },
  });
  return {
    ...commonOptions(values),
    rounds: wholeNumber('--rounds', values.rounds, 2, 1000),
    slowRounds: wholeNumber('--slow-rounds', values['slow-rounds'], 0, 1000),
    ranks: wholeNumbers('--ranks', values.ranks, 1, processorsPerNode),
    idleSeconds: wholeNumber('--idle-seconds', values['idle-seconds'], 0, 86_400),
    settleSeconds: wholeNumber('--settle-seconds', values['settle-seconds'], 0, 86_400),
  };
}
