import { readdir, statfs } from 'node:fs/promises';
import { isShared } from '../policy/index.js';
import { storeClock } from './clock.js';
import { condemn, condemnedPath, pardon, removeCondemned } from './condemned.js';
import { isDigest } from './digest.js';
import type { Layout } from './layout.js';
import { listNames } from './names.js';
import { isNeeded, lastTouched, needsOf, timeOf, type Needs, type Terms } from './needs.js';
import {
  removeResidue,
  sizeOf,
  spareLayers,
  staleLeases,
  staleTemporaries,
  sweepDangling,
  type Residue,
} from './residue.js';
import { forgetSharers } from './sharers.js';
import type { Owner } from './temporary.js';

/**
 * What is younger is not looked at: milliseconds since an image came, was named or launched. A user who has pulled an
 * image by its digest, or has just moved its name, may be about to use it.
 */
const GRACE = 3_600_000;

/**
 * How long a condemned image stays on a file system of the network, in milliseconds. A node that has just started a
 * container says so a moment later, other nodes see that when their caches end (NFS: a minute), and NFS takes a removed
 * file away from those who have it open.
 */
const SETTLING = 600_000;

/** statfs(2) types of file systems that one host has to itself, where an open file outlives its removal. */
const LOCAL_FILE_SYSTEMS = new Set([
  0xef53, // ext2, ext3, ext4
  0x58465342, // xfs
  0x9123683e, // btrfs
  0x01021994, // tmpfs
  0x794c7630, // overlay
  0xf2f52010, // f2fs
  0x2fc12fc1, // zfs
  0xca451a4e, // bcachefs
]);

export interface CollectOptions {
  /** Remove nothing; say what would go. */
  readonly dryRun: boolean;
  /** As [store] promise_days. */
  readonly promiseDays: number;
  /** Bytes of converted layers that may stay. */
  readonly layerCache: number;
  /** Digests of what containers on this host have mounted: the store may not have been told yet. */
  readonly mounted: ReadonlySet<string>;
  /** Milliseconds; without it, as the file system demands. */
  readonly settling?: number;
}

/** Something that was collected, or, with `keptFor`, was not, and why. */
export interface Collected {
  readonly what: 'image' | Residue['what'];
  /** Of an image, its digest. */
  readonly name: string;
  /** Bytes. */
  readonly size: number;
  readonly keptFor?: string;
}

/**
 * Removes what nobody needs: images that have no name, that no job runs and none was promised, and what serves only the
 * store's own work. Any number of hosts may do so at once, and be killed at any moment; see condemned.ts.
 */
export async function collect(layout: Layout, self: Owner, options: CollectOptions): Promise<Collected[]> {
  const terms = { promiseDays: options.promiseDays, now: await storeClock(layout, self) };
  const entries = await collectImages(layout, terms, options);
  const residue = [
    ...(await spareLayers(layout, options.layerCache)),
    ...(await staleLeases(layout, terms)),
    ...(await staleTemporaries(layout, self, terms)),
  ];
  for (const one of options.dryRun ? [] : residue) await removeResidue(one);
  if (!options.dryRun) {
    await sweepDangling(layout);
    await forgetSharers(layout, terms.now, async (uid) => (await listNames(layout, uid)).some(isShared));
  }
  return [...entries, ...residue.map(({ what, name, size }) => ({ what, name, size }))];
}

/**
 * Removes one image at once if nobody needs it any more.
 *
 * @returns why it stays, for its user; undefined when it is gone.
 */
export async function collectOne(
  layout: Layout,
  self: Owner,
  digest: string,
  options: Pick<CollectOptions, 'promiseDays' | 'mounted' | 'settling'>,
): Promise<string | undefined> {
  const terms = { promiseDays: options.promiseDays, now: await storeClock(layout, self) };
  const before = await needsWith(layout, [digest], terms, options);
  const needs = before.get(digest);
  if (needs && isNeeded(needs)) return reason(needs);
  await condemn(layout, digest, terms.now);
  const [outcome] = await judge(layout, [digest], terms, options);
  if (outcome?.keptFor !== undefined) return outcome.keptFor;
  await sweepDangling(layout);
  return undefined;
}

async function collectImages(layout: Layout, terms: Terms, options: CollectOptions): Promise<Collected[]> {
  const { files, condemned } = await imageFiles(layout);
  const needs = await needsWith(layout, files, terms, options);
  const entries: Collected[] = [];
  const chosen: string[] = [];
  for (const digest of files) {
    const need = needs.get(digest);
    if (need && need.names.length > 0) continue;
    const kept = need && isNeeded(need) ? reason(need) : await youth(layout, digest, terms.now);
    const entry = { what: 'image', name: digest, size: await sizeOf(layout.image(digest)) } as const;
    if (kept === undefined) chosen.push(digest);
    if (kept !== undefined || options.dryRun) entries.push({ ...entry, ...(kept !== undefined && { keptFor: kept }) });
  }
  if (options.dryRun) return entries;
  for (const digest of chosen) await condemn(layout, digest, terms.now);
  const outcomes = await judge(layout, new Set([...condemned, ...chosen]), terms, options);
  for (const { digest, size, keptFor } of outcomes) {
    entries.push({ what: 'image', name: digest, size, ...(keptFor !== undefined && { keptFor }) });
  }
  return entries;
}

/** What became of a condemned image. */
interface Outcome {
  readonly digest: string;
  readonly size: number;
  /** Why it stays, or goes later; undefined when it is gone. */
  readonly keptFor?: string;
}

/** The second look at condemned images: puts back those that somebody needs, and removes the rest. */
async function judge(
  layout: Layout,
  digests: Iterable<string>,
  terms: Terms,
  options: Pick<CollectOptions, 'mounted' | 'settling'>,
): Promise<Outcome[]> {
  const settling = options.settling ?? (await settlingTime(layout));
  const needs = await needsWith(layout, digests, terms, options);
  const outcomes: Outcome[] = [];
  for (const [digest, found] of needs) {
    const path = condemnedPath(layout, digest);
    const size = await sizeOf(path);
    if (isNeeded(found)) {
      if (await pardon(layout, digest)) outcomes.push({ digest, size, keptFor: reason(found) });
    } else if (Math.max(0, terms.now - (await timeOf(path))) < settling) {
      outcomes.push({ digest, size, keptFor: SETTLING_REASON });
    } else if (await removeCondemned(layout, digest)) {
      outcomes.push({ digest, size });
    }
    // Otherwise somebody else has put it back or removed it.
  }
  return outcomes;
}

async function needsWith(
  layout: Layout,
  digests: Iterable<string>,
  terms: Terms,
  { mounted }: Pick<CollectOptions, 'mounted'>,
): Promise<Map<string, Needs>> {
  const needs = await needsOf(layout, digests, terms);
  for (const [digest, need] of needs) {
    if (mounted.has(digest) && need.uses.length === 0) needs.set(digest, { ...need, uses: ['this node'] });
  }
  return needs;
}

async function imageFiles(layout: Layout): Promise<{ files: string[]; condemned: string[] }> {
  const files: string[] = [];
  const condemned: string[] = [];
  for (const entry of await readdir(layout.images)) {
    const [, hex = '', kind] = /^([0-9a-f]{64})\.(squashfs|condemned)$/.exec(entry) ?? [];
    const digest = `sha256:${hex}`;
    if (!isDigest(digest)) continue;
    (kind === 'squashfs' ? files : condemned).push(digest);
  }
  return { files, condemned };
}

const SETTLING_REASON =
  'other nodes may be starting it: it goes with the next collection, ten minutes from now or later';

/** Why an image stays. Whose names it has is not everybody's to know. */
function reason({ names, uses }: Needs): string {
  if (uses.length > 0) return inUse(uses);
  if (names.length > 0) return `it has ${names.length === 1 ? 'another name' : `${names.length} other names`}`;
  return 'a job was submitted with it not long ago, which berth rmi --force does not wait for, or somebody is giving it a name';
}

/** Jobs of HOST-JOB, each with where it runs. */
function inUse(uses: readonly string[]): string {
  const jobs = new Map<string, string[]>();
  for (const use of uses) {
    const [, host = use, job = ''] = /^(.*)-(\d+)$/.exec(use) ?? [];
    jobs.set(job, [...(jobs.get(job) ?? []), host]);
  }
  const shown = [...jobs].slice(0, 3).map(([job, hosts]) => {
    const where = hosts.length > 3 ? `${hosts.length} nodes` : hosts.join(', ');
    return job === '' ? `a container on ${where}` : `job ${job} on ${where}`;
  });
  return `in use by ${shown.join('; ')}${jobs.size > shown.length ? `; and ${jobs.size - shown.length} more` : ''}`;
}

async function youth(layout: Layout, digest: string, now: number): Promise<string | undefined> {
  const touched = await lastTouched(layout, digest);
  return now - touched < GRACE ? 'it came, was named or was launched less than an hour ago' : undefined;
}

async function settlingTime(layout: Layout): Promise<number> {
  const { type } = await statfs(layout.images);
  return LOCAL_FILE_SYSTEMS.has(type) ? 0 : SETTLING;
}
