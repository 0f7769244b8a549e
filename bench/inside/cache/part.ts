/** Small synchronous writes to a per-node cache, and to the directory that it replaces. */
import { compileProgram } from '../programs.js';
import type { Part, Prepared, Variant } from '../../parts/part.js';
import type { Stage } from '../../parts/stage.js';

const FILE_SYSTEMS = ['ext4', 'xfs'] as const;
const SHARED = 'shared';

/** Ranks that write at once. */
const WRITERS = 4;
/** Milliseconds. */
const DURATION = 1000;

/** As sync-writes.c calls them. */
const WORK = [
  { mode: 'overwrite', title: '4 KiB overwritten' },
  { mode: 'create', title: 'file made, synced, removed' },
] as const;

export const cachePart: Part = {
  name: 'cache',
  subject: 'small synchronous writes to a per-node cache and to a shared directory',
  heading: `Small synchronous writes, ${WRITERS} ranks`,
  columns: [
    { title: 'per second', value: 'rate', digits: 0 },
    { title: '× shared directory', value: 'rate', digits: 2, against: SHARED, as: 'ratio' },
  ],
  rounds: 8,
  prepare,
  targets: () => [],
};

/** One container has all of them: the directory as it is, and a cache with each file system in the same one. */
async function prepare(stage: Stage): Promise<Prepared> {
  const program = await compileProgram(stage, 'cache/sync-writes.c', 'sync-writes');
  const directory = await stage.shared('cache');
  const caches = FILE_SYSTEMS.map((type) => `${directory}:/${type}:perNodeCache=size=1G,fs=${type}`);
  const shell = await stage.shell('cache', [stage.image, `--volume=${directory}:/${SHARED};${caches.join(';')}`]);
  const variant = (mode: string, id: string, title: string): Variant => ({
    group: mode,
    id,
    title,
    measure: async () => {
      const srun = ['srun', '--overlap', `--ntasks=${WRITERS}`];
      const { output } = await shell.run([...srun, program, `/${id}`, mode, String(DURATION)]);
      return { rate: sumOfRanks(output, WRITERS) };
    },
  });
  const variants = WORK.flatMap(({ mode, title }) => [
    variant(mode, SHARED, `${title}: shared directory`),
    ...FILE_SYSTEMS.map((type) => variant(mode, type, `${title}: per-node cache, ${type}`)),
  ]);
  const type = await stage.sharedType();
  return { variants, notes: [`The shared directory is on ${type}, and so are the files of the caches.`] };
}

/**
 * The sum of the numbers that ranks print, one each.
 * @throws Error when they print anything else
 */
export function sumOfRanks(output: string, ranks: number): number {
  const numbers = output.trim().split('\n').map(Number);
  if (numbers.length !== ranks || !numbers.every((number) => number > 0)) {
    throw new Error(`${ranks} ranks have written, instead of a number each:\n${output}`);
  }
  return numbers.reduce((sum, number) => sum + number, 0);
}
