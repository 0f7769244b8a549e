/** Many ranks that start Python and import many modules at once, in the manner of the Pynamic benchmark. */
import { dropCaches } from '../../disk.js';
import { PACKAGES } from '../../images/reading/bench.js';
import { atMost } from '../../target.js';
import type { Part, Prepared, Variant } from '../../parts/part.js';
import { RootFileSystem } from '../root-file-system.js';
import { compared, type Samples } from '../../parts/samples.js';
import type { Stage } from '../../parts/stage.js';
import { makeModules, MODULES, PROGRAM } from './modules.js';

const WARM = 'warm';
const COLD = 'cold';
const BARE = 'bare';
const INSIDE = 'inside';

/** What this part can be asked for. */
export interface Asked {
  /** That import at once. */
  readonly ranks: number;
  /** Also import with nothing in the page cache. */
  readonly cold: boolean;
}

export const importsPart: Part<Asked> = {
  name: 'imports',
  subject: 'many ranks that import many Python modules at once, inside and bare',
  heading: 'Import storm',
  columns: [
    { title: 'wall ms', value: 'wall', digits: 0 },
    { title: '× bare', value: 'wall', digits: 3, against: BARE, as: 'ratio' },
  ],
  rounds: 8,
  prepare,
  targets: (samples) => [
    target('import storm inside over bare', samples, WARM),
    ...(samples.some(({ group }) => group === COLD)
      ? [target('import storm inside over bare, cold caches', samples, COLD)]
      : []),
  ],
};

function target(name: string, samples: Samples, group: string) {
  return atMost(name, 1.02, '×', compared(samples, group, INSIDE, BARE, 'wall', 'ratio'));
}

async function prepare(stage: Stage, { ranks, cold }: Asked): Promise<Prepared> {
  const root = await RootFileSystem.unpack(stage, 'python', PACKAGES);
  await makeModules(stage, root);
  await stage.importImage('imports', root.directory);
  const shell = await stage.shell('imports', ['--image=imports']);
  const variant = (group: string, id: string, command: readonly string[]): Variant => ({
    group,
    id,
    title: `${id}, ${group} caches`,
    ...(group === COLD ? { before: dropCaches } : {}),
    measure: async () => {
      const { begin, end, output } = await shell.run(['srun', '--overlap', `--ntasks=${ranks}`, ...command]);
      const done = output.split('\n').filter((line) => line === `${MODULES} modules`).length;
      if (done !== ranks) throw new Error(`only ${done} of ${ranks} ranks have imported everything:\n${output}`);
      return { wall: (end - begin) / 1000 };
    },
  });
  const bare = [
    '--image=none',
    `--export=ALL,PYTHONHOME=${root.path('usr')}`,
    ...root.bare('usr/bin/python3'),
    root.path(PROGRAM),
  ];
  const variants = [WARM, ...(cold ? [COLD] : [])].flatMap((group) => [
    variant(group, BARE, bare),
    variant(group, INSIDE, ['python3', `/${PROGRAM}`]),
  ]);
  const type = await stage.sharedType();
  return {
    variants,
    notes: [`${ranks} ranks, each ${MODULES} modules; bare from a directory on ${type}.`],
  };
}
