import { join } from 'node:path';
import { occupants } from '../../container/index.js';
import { BerthError } from '../../errors/index.js';
import { Layout } from '../../image/layout.js';
import { launchCanary } from '../canary.js';
import { count, fail, pass, some, unknown, warn, type Check, type Context, type Verdict } from '../check.js';
import { namesIn, readSmall } from '../places.js';
import { ProbeFailure } from '../probe.js';

/** What a launch or the end of a job may need to finish, in milliseconds: looked at twice before it is a finding. */
const GRACE = 1_000;

/** An empty container is not wondered about before this age, in seconds: its job may be between two steps. */
const YOUNGEST = 600;

/** The canary takes a few milliseconds. Launches on a node where it takes longer than this are slow for users. */
const SLOWEST_CANARY = 2_000;

/** Containers: what is left of ended ones, and whether a new one can be had. */
export const containerChecks: readonly Check[] = [
  {
    id: 'stale-containers',
    family: 'containers',
    reads: "the pins' directory; for containers that are empty for long, squeue",
    rule: "every pin is that of a container berthd knows, and every empty one's job is on this node",
    matters: 'a pin keeps an image mounted, and its loop device, without anybody using it',
    hint:
      'restart berthd, which ends what belongs to no job; containers that it knows it ends also when Slurm asks for the ' +
      "node's health; slurmd's log tells why an epilog was missed",
    run: async (context) => {
      const strangers = await twice(() => unknownPins(context));
      if (strangers.length > 0) return warn(`${count(strangers.length, 'pin')} of no container: ${some(strangers)}`);
      return checkEmptyContainers(context);
    },
  },
  {
    id: 'stale-loop-devices',
    family: 'containers',
    reads: 'the files behind the loop devices (/sys/block/loop*/loop/backing_file)',
    rule: 'each that serves an image of the store belongs to a container of this node',
    matters: 'it takes a loop device, and the image cannot be removed',
    hint: 'a process of an ended job may still be inside: losetup --list, then lsns -t mnt; losetup -d frees it when idle',
    run: async (context) => {
      const stale = await twice(() => Promise.resolve(staleLoops(context)));
      return stale.length > 0 ? warn(`in use by no container: ${some(stale)}`) : pass('none');
    },
  },
  {
    id: 'canary',
    family: 'containers',
    reads: "launches an image with one small program as nobody, with the site's mounts, and runs it",
    rule: 'the program runs within 2 s',
    matters: 'whatever a launch needs works together, or it does not',
    hint: 'what is named here is what jobs would be told; docs/errors.md has each code',
    needs: [
      'versions',
      'kernel-filesystems',
      'idmapped-mounts',
      'user-namespaces',
      'loop-devices',
      'mount-propagation',
      'mounts',
    ],
    run: async ({ config, probe, stuck }) => {
      if (!config.health.canary) return pass('off: [health] canary is false');
      try {
        const milliseconds = await launchCanary(config, probe, stuck);
        const text = `it ran after ${milliseconds.toFixed(0)} ms`;
        return milliseconds > SLOWEST_CANARY ? fail(text) : pass(text);
      } catch (error) {
        if (!(error instanceof BerthError)) throw error;
        return fail(error.code === 'BERTH_INTERNAL' ? error.why : `${error.code}: ${error.what}: ${error.why}`);
      }
    },
  },
];

/** What two looks, a little apart, agree on. The second is only taken where the first found something. */
async function twice(look: () => Promise<readonly string[]>): Promise<string[]> {
  const first = await look();
  if (first.length === 0) return [];
  await new Promise((resolve) => setTimeout(resolve, GRACE));
  const second = new Set(await look());
  return first.filter((found) => second.has(found));
}

function unknownPins({ config, containers }: Context): Promise<string[]> {
  const directory = join(config.daemon.runtimeDirectory, 'containers');
  const known = new Set(containers().map(({ id }) => id));
  return Promise.resolve(namesIn(directory).filter((name) => name !== 'canary' && !known.has(name)));
}

async function checkEmptyContainers({ containers, probe }: Context): Promise<Verdict> {
  const all = containers();
  // What belongs to no job is held by processes, which may be outside.
  const old = all.filter(({ jobId, created }) => jobId !== 0 && created < Date.now() / 1000 - YOUNGEST);
  const inside = old.length > 0 ? await occupants(old.map(({ mntns }) => mntns)) : undefined;
  const [first, ...more] = old.filter(({ mntns }) => inside?.has(mntns) !== true);
  if (!first) return pass(count(all.length, 'container'));
  try {
    const argv = ['squeue', '--noheader', `--nodelist=${first.nodeName}`, '--format=%A'];
    const { status, output } = await probe.run(argv);
    if (status !== 0) return unknown(`squeue: ${output.trim()}`);
    const jobs = new Set(output.split('\n').map(Number));
    const stale = [first, ...more].filter(({ jobId }) => !jobs.has(jobId));
    if (stale.length === 0) return pass(count(all.length, 'container'));
    return warn(`of jobs that are not here: ${some(stale.map(({ id, jobId }) => `${id} (job ${jobId})`))}`);
  } catch (error) {
    if (error instanceof ProbeFailure) return unknown(`squeue: ${error.message}`);
    throw error;
  }
}

function staleLoops({ config, containers, places }: Context): string[] {
  const layout = new Layout(config.store.path);
  const used = new Set(containers().map(({ digest }) => layout.image(digest)));
  return namesIn(places.sys, 'block').flatMap((name) => {
    if (!name.startsWith('loop')) return [];
    const file = readSmall(places.sys, 'block', name, 'loop', 'backing_file')?.trimEnd() ?? '';
    return file.startsWith(`${layout.images}/`) && !used.has(file) ? [`/dev/${name} (${file})`] : [];
  });
}
