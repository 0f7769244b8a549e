/** npm run bench -- inside: what being in a container costs. */
import { processorsPerNode } from '../../test/cluster/slurm-configuration.js';
import { wholeNumber } from '../arguments.js';
import { PACKAGES } from '../images/reading/bench.js';
import { peers } from '../packages.js';
import type { OwnOptions } from '../parts/arguments.js';
import { benchOfParts, type BenchOfParts } from '../parts/bench.js';
import { cachePart } from './cache/part.js';
import { importsPart, type Asked } from './imports/part.js';
import { lammpsPart } from './lammps/part.js';
import { launchPart } from './launch/part.js';
import { memoryPart } from './memory/part.js';

const own: OwnOptions<Asked> = {
  known: { ranks: { type: 'string', default: String(processorsPerNode) }, cold: { type: 'boolean', default: false } },
  usage: `  --ranks N           that import at once, 1 to ${processorsPerNode} (default: ${processorsPerNode})
  --cold              also import with cold caches: drops those of the whole machine, over and over
`,
  read: ({ ranks, cold }) => ({
    ranks: wholeNumber('--ranks', String(ranks), 1, processorsPerNode),
    cold: cold === true,
  }),
};

export const inside: BenchOfParts<Asked> = {
  name: 'inside',
  subject: 'being in a container: mounts, root, caches, memory, programs',
  purpose: 'What being in a container costs: its launch with all that may be mounted there, and programs in it.',
  manner: `Starts a private Slurm cluster on this machine and runs everything in turn, inside and outside. Takes about six minutes,
needs root, and leaves nothing behind but the Debian packages that it installs when they are missing (xfsprogs,
e2fsprogs) and the root file systems, under build/. Best run while nothing else does.`,
  parts: [launchPart, cachePart, memoryPart, lammpsPart, importsPart],
  own,
  packages: peers.inside,
  // The Debian with numpy and mpi4py of the images bench, for the parts that bring their own programs.
  setting: { rootfs: 'python', packages: PACKAGES },
};

export const insideBench = benchOfParts(inside);
