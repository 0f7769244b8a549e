/** LAMMPS, a Lennard-Jones melt. */
import { copyFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { atMost } from '../../target.js';
import type { Part, Prepared, Variant } from '../../parts/part.js';
import { RootFileSystem } from '../root-file-system.js';
import { compared } from '../../parts/samples.js';
import type { Stage } from '../../parts/stage.js';

const GROUP = 'melt';
const BARE = 'bare';
const INSIDE = 'inside';
const RANKS = 2;

export const lammpsPart: Part = {
  name: 'lammps',
  subject: 'a Lennard-Jones melt, inside and bare',
  heading: `LAMMPS, ${RANKS} ranks`,
  columns: [
    { title: 'wall ms', value: 'wall', digits: 0 },
    { title: '× bare', value: 'wall', digits: 3, against: BARE, as: 'ratio' },
    { title: 'loop ms', value: 'loop', digits: 0 },
    { title: '× bare', value: 'loop', digits: 3, against: BARE, as: 'ratio' },
  ],
  rounds: 10,
  prepare,
  targets: (samples) => [
    atMost('LAMMPS inside over bare, wall', 1.02, '×', compared(samples, GROUP, INSIDE, BARE, 'wall', 'ratio')),
  ],
};

async function prepare(stage: Stage): Promise<Prepared> {
  // The archive that the demo has, too.
  const root = await RootFileSystem.unpack(stage, 'lammps', ['lammps', 'openmpi-bin']);
  await stage.importImage('lammps', root.directory);
  const input = join(stage.home, 'melt.in');
  await copyFile(fileURLToPath(new URL('melt.in', import.meta.url)), join(stage.homeHere, 'melt.in'));
  // Ranks that wait without end for each other take the processors from srun and slurmctld, which have none of their own.
  const shell = await stage.shell('lammps', ['--image=lammps'], { OMPI_MCA_mpi_yield_when_idle: '1' });
  const variant = (id: string, options: readonly string[], program: readonly string[]): Variant => ({
    group: GROUP,
    id,
    title: id,
    measure: async () => {
      const srun = ['srun', '--overlap', '--mpi=pmix', `--ntasks=${RANKS}`, ...options];
      const { begin, end, output } = await shell.run([...srun, ...program, '-in', input, '-log', 'none']);
      return { wall: (end - begin) / 1000, loop: loopTime(output, RANKS) };
    },
  });
  return {
    variants: [
      variant(BARE, ['--image=none', `--export=ALL,${ownComponents(root).join(',')}`], root.bare('usr/bin/lmp')),
      variant(INSIDE, [], ['lmp']),
    ],
    notes: [],
  };
}

/** Open MPI and hwloc load parts of theirs from where they were installed, which is to be the same place outside. */
function ownComponents(root: RootFileSystem): readonly string[] {
  return [
    `OPAL_PKGLIBDIR=${root.libraries}/openmpi/lib/openmpi3`,
    `OPAL_PKGDATADIR=${root.path('usr/share/openmpi')}`,
    `OPAL_SYSCONFDIR=${root.path('etc/openmpi')}`,
    `HWLOC_PLUGINS_PATH=${root.libraries}/hwloc`,
  ];
}

/**
 * Milliseconds that LAMMPS says it computed.
 * @throws Error when it says nothing of it, or that there were fewer ranks than were started
 */
export function loopTime(output: string, ranks: number): number {
  const [, seconds, count] = /^Loop time of (\S+) on (\d+) procs/m.exec(output) ?? [];
  if (seconds === undefined || Number(count) !== ranks) {
    throw new Error(`LAMMPS does not say how long ${ranks} ranks took:\n${output}`);
  }
  return Number(seconds) * 1000;
}
