import { mkdir, open, readdir, rm, stat, utimes } from 'node:fs/promises';
import { join } from 'node:path';
import { errorCode } from '../errors/index.js';
import { hexOf } from './digest.js';
import { syncDirectory } from './durable.js';
import type { Layout } from './layout.js';

// Why images have to stay: jobs that run them (uses), and jobs that will (promises). None of these files holds anything;
// their names and times say it all, and each is of one writer.

const LAST = 'last';

/** So often a directory is not removed between two steps. */
const ATTEMPTS = 100;

/** A submitted job of this user will need the image. */
export async function promiseImage(layout: Layout, digest: string, uid: number): Promise<void> {
  await touch(layout.promisesOf(digest), `uid-${uid}`);
  // Unlike a use, it outlives this node: the job is Slurm's.
  await syncDirectory(layout.promisesOf(digest));
  await syncDirectory(layout.promises);
}

/** Jobs of this user, or of all, do not need the image any more, whatever they were promised. */
export async function breakPromises(layout: Layout, digest: string, uid?: number): Promise<void> {
  const files = await readdir(layout.promisesOf(digest)).catch((error: unknown) => {
    if (errorCode(error) === 'ENOENT') return [];
    throw error;
  });
  const broken = files.filter((file) => (uid === undefined ? file.startsWith('uid-') : file === `uid-${uid}`));
  for (const file of broken) await rm(join(layout.promisesOf(digest), file), { force: true });
}

/** A job has the image mounted on this host. */
export async function useImage(layout: Layout, digest: string, host: string, jobId: number): Promise<void> {
  await touch(layout.usesOf(digest), `${host}-${jobId}`);
  await touch(layout.usesOf(digest), LAST);
}

/** The job has ended on this host. */
export async function unuseImage(layout: Layout, digest: string, host: string, jobId: number): Promise<void> {
  await rm(join(layout.usesOf(digest), `${host}-${jobId}`), { force: true });
}

/**
 * Forgets uses of this host that are none: a node that crashed has no containers, and nobody who says so.
 *
 * @param stays digests, each with the jobs of this host that have it mounted.
 */
export async function forgetUses(
  layout: Layout,
  host: string,
  stays: ReadonlyMap<string, ReadonlySet<number>>,
): Promise<number> {
  const used = new Map([...stays].map(([digest, jobs]) => [hexOf(digest), jobs]));
  let forgotten = 0;
  for (const hex of await readdir(layout.uses)) {
    for (const file of await readdir(join(layout.uses, hex)).catch(() => [])) {
      const job = jobOf(file, host);
      if (job === undefined || used.get(hex)?.has(job)) continue;
      await rm(join(layout.uses, hex, file), { force: true });
      forgotten++;
    }
  }
  return forgotten;
}

/** Jobs, of any host, that have the image mounted: "HOST-JOB". */
export async function usesOf(layout: Layout, digest: string): Promise<string[]> {
  const files = await readdir(layout.usesOf(digest)).catch((error: unknown) => {
    if (errorCode(error) === 'ENOENT') return [];
    throw error;
  });
  return files.filter((file) => file !== LAST);
}

/** When the image was last launched anywhere: seconds since the epoch, 0 for never. */
export async function lastUse(layout: Layout, digest: string): Promise<number> {
  try {
    return Math.floor((await stat(join(layout.usesOf(digest), LAST))).mtimeMs / 1000);
  } catch (error) {
    if (errorCode(error) === 'ENOENT') return 0;
    throw error;
  }
}

function jobOf(file: string, host: string): number | undefined {
  const job = file.startsWith(`${host}-`) ? file.slice(host.length + 1) : '';
  return /^\d+$/.test(job) ? Number(job) : undefined;
}

/** Makes a file, or gives it the present time. Its directory may go at any moment: a collector removes empty ones. */
export async function touch(directory: string, name: string): Promise<void> {
  const path = join(directory, name);
  for (let attempt = 1; ; attempt++) {
    try {
      await mkdir(directory, { mode: 0o700 }).catch((error: unknown) => {
        if (errorCode(error) !== 'EEXIST') throw error;
      });
      const handle = await open(path, 'a', 0o600);
      await handle.close();
      const now = new Date();
      await utimes(path, now, now);
      return;
    } catch (error) {
      if (errorCode(error) !== 'ENOENT' || attempt === ATTEMPTS) throw error;
    }
  }
}
