/** What volumes, modules, root and a writable image add to a cold launch. */
import { BuildLog, daemonOf, untilContainers } from '../../berthd.js';
import { atMost } from '../../target.js';
import type { Part, Prepared, Values, Variant } from '../../parts/part.js';
import { compared } from '../../parts/samples.js';
import type { Stage } from '../../parts/stage.js';
import { ASKED } from './asked.js';
import { writeModules } from './modules.js';
import { makeSources, MOST_MOUNTS } from './volumes.js';

const GROUP = 'launch';
/** Without a container, and with one of which nothing is asked. */
const BARE = 'bare';
const PLAIN = 'plain';

/** Prints when it starts to run, in nanoseconds since the epoch; in the image as on the node. */
const PROBE = ['date', '+%s%N'] as const;

/** Milliseconds: the promise of the launch bench for a cold launch, which what is asked of a container has to keep. */
const COLD_LIMIT = 15;

export const launchPart: Part = {
  name: 'launch',
  subject: 'cold launches with bind mounts, modules, root, a writable image',
  heading: 'A job of one rank, with a container of its own',
  columns: [
    { title: 'wall ms', value: 'wall', digits: 1 },
    { title: 'adds to bare ms', value: 'wall', digits: 1, against: BARE, as: 'difference' },
    { title: 'adds to plain ms', value: 'wall', digits: 1, against: PLAIN, as: 'difference' },
    { title: 'berthd builds ms', value: 'build', digits: 2 },
    { title: '… adds to plain ms', value: 'build', digits: 2, against: PLAIN, as: 'difference' },
  ],
  rounds: 16,
  prepare,
  targets: (samples) => {
    const perTen = compared(samples, GROUP, String(MOST_MOUNTS), PLAIN, 'wall', 'difference');
    const tens = MOST_MOUNTS / 10;
    return [
      atMost('ten bind mounts add to a cold job', 1, 'ms', {
        median: perTen.median / tens,
        deviation: perTen.deviation / tens,
      }),
      ...ASKED.filter(({ promised }) => promised).map(({ id, title }) =>
        atMost(
          `cold job ${title} adds to bare srun`,
          COLD_LIMIT,
          'ms',
          compared(samples, GROUP, id, BARE, 'wall', 'difference'),
        ),
      ),
    ];
  },
};

async function prepare(stage: Stage): Promise<Prepared> {
  await makeSources(stage);
  await writeModules(stage);
  const { cluster } = stage;
  const shell = await stage.shell('launch');
  const berthd = await daemonOf(cluster);
  const launch = async (options: readonly string[]): Promise<Values> => {
    const log = await BuildLog.from(cluster);
    const { wall } = await shell.time(['srun', '--nodes=1', '--ntasks=1', ...options, ...PROBE], 1);
    const [build] = await log.builds();
    return { wall, ...(build === undefined ? {} : { build: build.total }) };
  };
  const variant = (id: string, title: string, options: readonly string[]): Variant => ({
    group: GROUP,
    id,
    title,
    // One that is still there would lend its image mount.
    before: () => untilContainers(berthd, 0),
    measure: () => launch(options),
  });
  const variants = [
    variant(BARE, 'bare: srun --image=none', ['--image=none']),
    ...ASKED.map(({ id, title, options }) => variant(id, title, [stage.image, ...options])),
  ];
  return { variants, notes: [] };
}
