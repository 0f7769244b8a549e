import { spawn } from 'node:child_process';
import { hostname } from 'node:os';
import type { Config } from '../config/index.js';
import { BerthError } from '../errors/index.js';
import { cachefileExecutable, isNativeError, native } from '../native/index.js';
import type { CacheVolume } from '../options/index.js';
import { closeAside, OpenDenied, OpenFault, runErrand } from './opener.js';
import type { Caller } from './order.js';
import { collectMessages, endOf, endOnAbort, lastWords, type User } from './user-process.js';

/**
 * Whom mkfs runs as: a number that distributions and systemd leave unused, as that of the converter, and another than
 * that, which reads what strangers have made.
 */
const FORMATTER = 65521;

/** statfs(2): linux/magic.h, and the sources of those that come from elsewhere. */
const NUMBERS: Readonly<Record<string, number>> = {
  beegfs: 0x19830326,
  btrfs: 0x9123683e,
  // Also ext2 and ext3.
  ext4: 0xef53,
  f2fs: 0xf2f52010,
  gpfs: 0x47504653,
  lustre: 0x0bd00bd0,
  nfs: 0x6969,
  tmpfs: 0x01021994,
  xfs: 0x58465342,
  zfs: 0x2fc12fc1,
};

/** Others that users are likely to have a directory on. */
const OTHER_NUMBERS: Readonly<Record<string, number>> = { FUSE: 0x65735546, overlayfs: 0x794c7630, ramfs: 0x858458f6 };

/** What mkfs is told: the file has nothing in it, and nothing of it is to outlive the job. */
const FORMATS: Readonly<Record<CacheVolume['filesystem'], readonly string[]>> = {
  // In the loop device's blocks. Without a journal: there is nothing to recover. No room kept for root, nor for growing.
  ext4: ['-q', '-F', '-b', '4096', '-m', '0', '-O', '^has_journal,^resize_inode', '-E', 'lazy_itable_init=1,nodiscard'],
  // A log of half the size is no slower, and a larger one is written to be empty.
  xfs: ['-q', '-f', '-K', '-s', 'size=4096', '-l', 'size=64m'],
};

export interface CacheOrder extends User {
  readonly nodeName: string;
}

/**
 * Makes the file system of a per-node cache and mounts it: see docs/adr/0019.
 *
 * @returns the detached mount; whoever has this closes it, and with it goes everything.
 * @throws BerthError BERTH_CACHE, BERTH_MOUNT_DENIED
 */
export async function makeCache(
  order: CacheOrder,
  volume: CacheVolume,
  caller: Caller,
  config: Config,
): Promise<number> {
  const timeout = config.container.buildTimeout * 1000;
  const formatted = native.memoryFile(volume.size * 2 ** 20);
  try {
    await format(order, volume, formatted, timeout);
    const file = await makeFile(order, volume, caller, formatted, config.volumes, timeout);
    try {
      return await native.mountCache(file, volume.filesystem, order.uid, order.gid);
    } finally {
      closeAside(file);
    }
  } catch (error) {
    if (error instanceof OpenDenied) {
      throw new BerthError('BERTH_MOUNT_DENIED', { path: volume.source, why: error.message });
    }
    if (error instanceof OpenFault || isNativeError(error)) throw unmade(order, volume, error.message);
    throw error;
  } finally {
    native.close(formatted);
  }
}

/** In memory, and by a process that could do nothing else: it neither has the user's rights nor root's. */
async function format(order: CacheOrder, volume: CacheVolume, file: number, timeout: number): Promise<void> {
  const program = `mkfs.${volume.filesystem}`;
  const argv = [
    ...[`--reuid=${FORMATTER}`, `--regid=${FORMATTER}`, '--clear-groups', '--no-new-privs'],
    ...['--bounding-set=-all', '--inh-caps=-all', '--ambient-caps=-all', '--pdeathsig=KILL'],
    ...['--', program, ...FORMATS[volume.filesystem], '/proc/self/fd/3'],
  ];
  const child = spawn('setpriv', argv, {
    cwd: '/',
    env: { PATH: '/usr/sbin:/usr/bin:/sbin:/bin', LC_ALL: 'C' },
    stdio: ['ignore', 'ignore', 'pipe', file],
    detached: true,
  });
  const messages = collectMessages(child);
  const stopEnding = endOnAbort(child, [AbortSignal.timeout(timeout)]);
  try {
    const status = await endOf(child);
    if (status === 0) return;
    const words = lastWords(messages());
    const why = words?.includes('No such file') ? `${program} is not installed on this node` : words;
    throw unmade(order, volume, why ?? `${program} ended with status ${status ?? 'unknown'}`);
  } finally {
    stopEnding();
  }
}

async function makeFile(
  order: CacheOrder,
  volume: CacheVolume,
  caller: Caller,
  formatted: number,
  policy: Config['volumes'],
  timeout: number,
): Promise<number> {
  const allowed = policy.cacheFilesystems.map((name) => `0x${(NUMBERS[name] ?? 0).toString(16)}`).join(' ');
  const answer = await runErrand({
    executable: cachefileExecutable,
    user: order,
    path: volume.source,
    words: [allowed],
    policy,
    caller: caller.mountNamespace ?? caller.pidfd,
    descriptors: [formatted],
    timeout,
  });
  const [kind, number = ''] = answer.text.split(' ');
  const [file] = answer.descriptors;
  if (kind === 'made' && file !== undefined) return file;
  if (kind === 'unnamed') {
    const why = 'its file system makes no files without a name (O_TMPFILE), and one with a name is not safe to mount';
    throw new OpenFault(why);
  }
  if (kind !== 'filesystem') throw new OpenFault('the process that makes its file ended without an answer');
  const sites = policy.cacheFilesystems.join(', ') || 'none';
  throw new OpenFault(`it is on ${nameOf(number)}; the site allows it on: ${sites} ([volumes] cache_filesystems)`);
}

function nameOf(number: string): string {
  const known = Object.entries({ ...NUMBERS, ...OTHER_NUMBERS });
  return known.find(([, known]) => known === Number(number))?.[0] ?? `a file system with the number ${number}`;
}

function unmade({ nodeName }: CacheOrder, { source }: CacheVolume, why: string): BerthError {
  return new BerthError('BERTH_CACHE', { path: source, host: nodeName || hostname(), why });
}
