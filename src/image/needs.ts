import { readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { errorCode } from '../errors/index.js';
import type { Layout, Scope } from './layout.js';
import { lastUse, usesOf } from './keeping.js';
import { listNames } from './names.js';

/** A promise that is held while an image gets its name lasts this long when its holder dies: milliseconds. */
export const HOLD_LIMIT = 3_600_000;
const DAY = 86_400_000;
/** No job runs longer: what a host that is gone for good has left in uses/ ends some day. Milliseconds. */
const USE_LIMIT = 366 * DAY;

/** Who needs an image. */
export interface Needs {
  readonly names: readonly { readonly scope: Scope; readonly name: string }[];
  /** Jobs that have it mounted: HOST-JOB. */
  readonly uses: readonly string[];
  /** Has a submitted job been promised it, or is somebody giving it a name just now? */
  readonly promised: boolean;
}

/** How long promises last, and what time it is by the clock that dates the store's files. Milliseconds. */
export interface Terms {
  readonly promiseDays: number;
  readonly now: number;
}

/**
 * Who needs these images.
 *
 * @throws BerthError BERTH_IMAGE_DAMAGED for a name that cannot be read: who knows what it needs?
 */
export async function needsOf(layout: Layout, digests: Iterable<string>, terms: Terms): Promise<Map<string, Needs>> {
  const others: [string, Omit<Needs, 'names'>][] = [];
  for (const digest of digests) {
    const uses = await liveUses(layout, digest, terms.now);
    others.push([digest, { uses, promised: await isPromised(layout, digest, terms) }]);
  }
  // Only then the names: whoever gives one holds the image until the name can be seen.
  const names = await namesByDigest(layout);
  return new Map(others.map(([digest, other]) => [digest, { ...other, names: names.get(digest) ?? [] }]));
}

/** Everybody who has names in the store, the site included. */
export async function scopes(layout: Layout): Promise<Scope[]> {
  const found: Scope[] = [];
  for (const entry of await readdir(layout.refs)) {
    const uid = /^uid-(\d+)$/.exec(entry)?.[1];
    if (entry === 'site') found.push('site');
    else if (uid !== undefined) found.push(Number(uid));
  }
  return found;
}

export function isNeeded({ names, uses, promised }: Needs): boolean {
  return names.length > 0 || uses.length > 0 || promised;
}

/** All names in the store, by the digests of their images. */
async function namesByDigest(layout: Layout): Promise<Map<string, { scope: Scope; name: string }[]>> {
  const found = new Map<string, { scope: Scope; name: string }[]>();
  for (const scope of await scopes(layout)) {
    for (const { digest, name } of await listNames(layout, scope)) {
      const names = found.get(digest) ?? [];
      names.push({ scope, name });
      found.set(digest, names);
    }
  }
  return found;
}

/** When an image last came, got a name or was launched: milliseconds since the epoch. */
export async function lastTouched(layout: Layout, digest: string): Promise<number> {
  const references = (await scopes(layout)).map((scope) => layout.ref(scope, digest));
  const times = await Promise.all([layout.image(digest), ...references].map(timeOf));
  return Math.max(...times, (await lastUse(layout, digest)) * 1000);
}

async function liveUses(layout: Layout, digest: string, now: number): Promise<string[]> {
  const live: string[] = [];
  for (const use of await usesOf(layout, digest)) {
    if (now - (await timeOf(join(layout.usesOf(digest), use))) < USE_LIMIT) live.push(use);
  }
  return live;
}

async function isPromised(layout: Layout, digest: string, { promiseDays, now }: Terms): Promise<boolean> {
  for (const file of await entriesOf(layout.promisesOf(digest))) {
    const limit = file.startsWith('uid-') ? promiseDays * DAY : HOLD_LIMIT;
    if (now - (await timeOf(join(layout.promisesOf(digest), file))) < limit) return true;
  }
  return false;
}

/** Entries of a directory; none of one that is not there. */
export async function entriesOf(directory: string): Promise<string[]> {
  return readdir(directory).catch((error: unknown) => {
    if (errorCode(error) === 'ENOENT') return [];
    throw error;
  });
}

/** When a file was changed, in milliseconds since the epoch; 0 when it is not there. */
export async function timeOf(path: string): Promise<number> {
  try {
    return (await stat(path)).mtimeMs;
  } catch (error) {
    if (errorCode(error) === 'ENOENT') return 0;
    throw error;
  }
}
