import { lstat, readdir, readFile, rm, rmdir, stat, unlink } from 'node:fs/promises';
import { join } from 'node:path';
import { errorCode } from '../errors/index.js';
import { condemnedPath } from './condemned.js';
import { isDigest } from './digest.js';
import type { Layout } from './layout.js';
import { entriesOf, HOLD_LIMIT, scopes, timeOf, type Terms } from './needs.js';
import { isJsonObject, parseJson } from './record.js';
import { isStale, type Owner } from './temporary.js';

// What serves the store's work and is nobody's image: layers that were converted, leases, and what was left unfinished.

/** A lease that nobody touches is given up after seconds (lease.ts); one that old is not even being taken over. */
const LEASE_LIMIT = 3_600_000;
/** Another host's unfinished work is not known to be dead; nothing takes this long. Milliseconds. */
const TEMPORARY_LIMIT = 7 * 86_400_000;

/** Something that can go, and the files it consists of. */
export interface Residue {
  readonly what: 'layer' | 'lease' | 'temporary';
  readonly name: string;
  /** Bytes. */
  readonly size: number;
  readonly paths: readonly string[];
}

/**
 * Layers that go when at most `limit` bytes of them are to stay: those whose last use is longest ago. Pulls that use one
 * of them have a second name for its file.
 */
export async function spareLayers(layout: Layout, limit: number): Promise<Residue[]> {
  const layers = [];
  for (const file of await readdir(layout.layers)) {
    const [, hex] = /^([0-9a-f]{64})\.layer$/.exec(file) ?? [];
    if (hex === undefined) continue;
    const digest = `sha256:${hex}`;
    const size = await sizeOf(layout.layer(digest));
    layers.push({ digest, size, used: await timeOf(layout.layerRecord(digest)) });
  }
  layers.sort((a, b) => b.used - a.used);
  let kept = 0;
  const spare: Residue[] = [];
  for (const { digest, size } of layers) {
    if (kept + size <= limit) {
      kept += size;
      continue;
    }
    // The record first: a layer without one is as good as not there.
    const paths = [layout.layerRecord(digest), layout.layer(digest)];
    spare.push({ what: 'layer', name: digest, size, paths });
  }
  return spare;
}

export async function staleLeases(layout: Layout, { now }: Terms): Promise<Residue[]> {
  const stale: Residue[] = [];
  for (const file of await readdir(layout.leases)) {
    const path = join(layout.leases, file);
    if (now - (await timeOf(path)) < LEASE_LIMIT) continue;
    stale.push({ what: 'lease', name: file.replace(/\.json$/, ''), size: await sizeOf(path), paths: [path] });
  }
  return stale;
}

/** Unfinished work of processes of this host that are gone, and of other hosts where nothing has moved for a week. */
export async function staleTemporaries(layout: Layout, self: Owner, { now }: Terms): Promise<Residue[]> {
  const stale: Residue[] = [];
  for (const entry of await readdir(layout.temporary)) {
    const path = join(layout.temporary, entry);
    const { size, touched } = await measure(path);
    // HOST_…, as temporary.ts names them.
    const own = entry.startsWith(`${self.host}_`);
    if (own ? await isStale(entry, self) : now - touched > TEMPORARY_LIMIT)
      stale.push({ what: 'temporary', name: entry, size, paths: [path] });
  }
  return stale;
}

export async function removeResidue({ paths }: Residue): Promise<void> {
  for (const path of paths) await rm(path, { recursive: true, force: true });
}

/**
 * Removes what is left about images that are gone: records, references under digests, what was made of manifests,
 * promises and uses. Without it they would be found, and then could not be opened. Names stay: what they meant may be
 * imported again.
 *
 * @returns how many files went.
 */
export async function sweepDangling(layout: Layout): Promise<number> {
  let swept = 0;
  for (const parent of [layout.promises, layout.uses]) swept += await sweepDirectories(layout, parent);
  for (const path of await imageReferences(layout)) {
    const digest = await imageIn(path);
    if (digest === undefined || (await isPresent(layout, digest))) continue;
    if (await removeFile(path)) swept++;
  }
  return swept;
}

/** Files that say something of one image and mean nothing without it. */
async function imageReferences(layout: Layout): Promise<string[]> {
  const digests = (files: readonly string[]): string[] => files.filter((file) => isDigest(file.replace(/\.json$/, '')));
  const records = (await readdir(layout.images)).filter((file) => file.endsWith('.json'));
  const found = records.map((file) => join(layout.images, file));
  for (const scope of await scopes(layout)) {
    const directory = layout.scope(scope);
    found.push(...digests(await readdir(directory)).map((file) => join(directory, file)));
  }
  for (const directory of [layout.manifests, layout.files])
    found.push(...(await readdir(directory)).map((file) => join(directory, file)));
  return found;
}

/** The image that a record ("digest") or what was made of a manifest ("image") is about. */
async function imageIn(path: string): Promise<string | undefined> {
  const value = parseJson(await readFile(path, 'utf8').catch(() => ''));
  if (!isJsonObject(value)) return undefined;
  const digest = value['digest'] ?? value['image'];
  return typeof digest === 'string' && isDigest(digest) ? digest : undefined;
}

async function isPresent(layout: Layout, digest: string): Promise<boolean> {
  const looks = [layout.image(digest), condemnedPath(layout, digest), layout.image(digest)];
  for (const path of looks) if ((await timeOf(path)) > 0) return true;
  // Somebody is about to put it there.
  return (await entriesOf(layout.promisesOf(digest))).length > 0;
}

/** promises/HEX and uses/HEX of images that are gone. What is young is of somebody who is about to bring the image. */
async function sweepDirectories(layout: Layout, parent: string): Promise<number> {
  let swept = 0;
  for (const hex of await readdir(parent)) {
    const digest = `sha256:${hex}`;
    if (!isDigest(digest)) continue;
    const gone = (await timeOf(layout.image(digest))) === 0 && (await timeOf(condemnedPath(layout, digest))) === 0;
    for (const file of gone ? await entriesOf(join(parent, hex)) : []) {
      const path = join(parent, hex, file);
      if (Date.now() - (await timeOf(path)) > HOLD_LIMIT && (await removeFile(path))) swept++;
    }
    // Not while it holds anything.
    if (gone) await rmdir(join(parent, hex)).catch(() => undefined);
  }
  return swept;
}

async function removeFile(path: string): Promise<boolean> {
  try {
    await unlink(path);
    return true;
  } catch (error) {
    if (errorCode(error) === 'ENOENT') return false;
    throw error;
  }
}

/** Bytes below a path, and when anything of it was last changed, in milliseconds since the epoch. */
async function measure(path: string): Promise<{ size: number; touched: number }> {
  try {
    const own = await lstat(path);
    let { size } = own;
    let touched = own.mtimeMs;
    for (const entry of own.isDirectory() ? await entriesOf(path) : []) {
      const inner = await measure(join(path, entry));
      size += inner.size;
      touched = Math.max(touched, inner.touched);
    }
    return { size, touched };
  } catch (error) {
    if (errorCode(error) === 'ENOENT') return { size: 0, touched: 0 };
    throw error;
  }
}

export async function sizeOf(path: string): Promise<number> {
  try {
    return (await stat(path)).size;
  } catch (error) {
    if (errorCode(error) === 'ENOENT') return 0;
    throw error;
  }
}
