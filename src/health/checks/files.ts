import { count, fail, pass, some, warn, type Check, type Verdict } from '../check.js';
import { readMounts, type Places } from '../places.js';
import { ProbeFailure, type ProbeSession } from '../probe.js';
import { answering, scarcity } from './store.js';

/** File systems on disks of the node's own, which the kernel makes read-only when it finds them damaged. */
const DISK_TYPES = new Set(['ext3', 'ext4', 'xfs', 'btrfs', 'f2fs', 'jfs', 'reiserfs']);

/** Percent that should be free in memory-backed and temporary directories. */
const LEAST_FREE = 5;

/** The node's file systems, as jobs meet them. */
export const fileChecks: readonly Check[] = [
  {
    id: 'mounts',
    family: 'files',
    reads: '/proc/self/mountinfo; the paths of [health] mounts and the sources of [container] mounts',
    rule: 'the first are mount points, and all are there and answer within 3 s',
    matters: 'jobs hang, or write to the disk below; no container can be built without its mounts',
    hint: 'mount it again; is its server up, and the network to it?',
    run: async ({ config, places, probe }) => {
      const required = config.health.mounts;
      const paths = [...new Set([...required, ...config.container.mounts.map(({ source }) => source)])];
      const answers = await Promise.all(paths.map((path) => answering(path, probe)));
      const faults = answers.filter((answer) => typeof answer === 'string');
      // After they were asked: autofs has mounted what it mounts by now.
      const points = new Set(readMounts(places).map(({ point }) => point));
      const missing = paths
        // Of what does not answer, its fault tells enough.
        .filter((path, index) => required.includes(path) && !points.has(path) && typeof answers[index] !== 'string')
        .map((path) => `nothing is mounted on ${path}`);
      const all = [...missing, ...faults];
      if (all.length > 0) return fail(some(all));
      return pass(paths.length === 0 ? 'none are required' : `${count(paths.length, 'path')} answered`);
    },
  },
  {
    id: 'tmp',
    family: 'files',
    reads: '/tmp, and TmpFS of slurm.conf; writes 4 KiB into a nameless file there',
    rule: `mode 1777, writable, and ${LEAST_FREE} percent free (a failure below a tenth of that)`,
    matters: 'PMIx, MPI and nearly every program need it',
    hint: 'remove what ended jobs have left there; its mode is 1777, and it belongs to root',
    run: async ({ slurm, probe }) => {
      const paths = [...new Set(['/tmp', slurm?.get('TmpFS') ?? '/tmp'])];
      return worst(await Promise.all(paths.map((path) => checkScratch(path, probe))));
    },
  },
  {
    id: 'dev-shm',
    family: 'files',
    reads: '/dev/shm',
    rule: `as /tmp; and it is a tmpfs`,
    matters: 'ranks on a node talk to each other through it; what ended jobs left there is memory that is missing',
    hint: 'remove what ended jobs have left there, or mount it: mount -t tmpfs -o mode=1777,nosuid,nodev tmpfs /dev/shm',
    run: async ({ places, probe }) => {
      const mount = readMounts(places).findLast(({ point }) => point === '/dev/shm');
      if (mount?.type !== 'tmpfs') return fail('/dev/shm is not a tmpfs');
      return checkScratch('/dev/shm', probe);
    },
  },
  {
    id: 'read-only-filesystems',
    family: 'files',
    reads: '/proc/self/mountinfo',
    rule: 'no disk that was mounted to be written to has become read-only',
    matters: 'the kernel does that when it finds a file system damaged; what is written there is lost from then on',
    hint: 'the kernel log has the reason; check the file system (fsck) and the disk before it is used again',
    run: ({ places }) => {
      const lost = turnedReadOnly(places);
      return lost.length > 0 ? fail(`read-only since an error: ${some(lost)}`) : pass('none');
    },
  },
];

async function checkScratch(path: string, probe: ProbeSession): Promise<Verdict> {
  const facts = await answering(path, probe);
  if (typeof facts === 'string') return fail(facts);
  if (facts.mode !== 0o1777) return fail(`${path} has mode ${facts.mode.toString(8)}, not 1777`);
  const space = scarcity(facts.free, facts.size, LEAST_FREE, `space under ${path} is`);
  const inodes = scarcity(facts.freeFiles, facts.files, LEAST_FREE, `inodes under ${path} are`);
  const scarce = worst([space, inodes]);
  if (scarce.status === 'fail') return scarce;
  try {
    await probe.ask('write', [path]);
  } catch (error) {
    if (error instanceof ProbeFailure) return fail(`${path} cannot be written to: ${error.message}`);
    throw error;
  }
  return scarce.status === 'warn' ? scarce : pass(space.text);
}

/** Mounted read-write, while the file system itself is read-only. */
function turnedReadOnly(places: Places): string[] {
  const lost = readMounts(places).filter(
    ({ type, options, superOptions }) => DISK_TYPES.has(type) && options.includes('rw') && superOptions.includes('ro'),
  );
  return [...new Set(lost.map(({ point }) => point))];
}

/** The worst of several, with its own words. */
function worst(verdicts: readonly Verdict[]): Verdict {
  const order = ['fail', 'warn', 'unknown', 'pass'] as const;
  for (const status of order) {
    const found = verdicts.find((verdict) => verdict.status === status);
    if (found) return found;
  }
  return warn('nothing was looked at');
}
