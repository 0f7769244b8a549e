import { constants } from 'node:fs';
import { link, lstat, open, readFile, rm, utimes, type FileHandle } from 'node:fs/promises';
import { join } from 'node:path';
import { errorCode } from '../errors/index.js';
import { prove, type Proved } from '../policy/index.js';
import type { MadeLayer } from './converter.js';
import { hexOf, isDigest } from './digest.js';
import { moveIntoPlace, writeDurably } from './durable.js';
import type { Layout } from './layout.js';
import { isCount, isJsonObject, isListOfUids, parseJson } from './record.js';

/** What the cache knows of a converted layer. Sizes are in bytes. */
export interface LayerRecord extends Proved {
  /** Of the tar archive in the blob. */
  readonly diffId: string;
  /** Of the layer file. */
  readonly size: number;
  /** Of the files in it. */
  readonly unpacked: number;
  readonly entries: number;
}

/**
 * A converted layer; undefined when it is not in the cache, or not whole.
 *
 * @param digest of its blob.
 */
export async function readLayer(layout: Layout, digest: string): Promise<LayerRecord | undefined> {
  try {
    const value = parseJson(await readFile(layout.layerRecord(digest), 'utf8'));
    const file = await lstat(layout.layer(digest));
    return isLayerRecord(value) && file.isFile() && file.size === value.size ? value : undefined;
  } catch (error) {
    if (errorCode(error) === 'ENOENT') return undefined;
    throw error;
  }
}

/**
 * Gives a converted layer a second name in `directory`, so that it can be used whatever the cache drops meanwhile, and
 * notes the use.
 *
 * @returns false when it is gone.
 */
export async function holdLayer(layout: Layout, digest: string, directory: string): Promise<boolean> {
  const now = new Date();
  try {
    await utimes(layout.layerRecord(digest), now, now);
    await link(layout.layer(digest), heldLayer(directory, digest));
    return true;
  } catch (error) {
    if (errorCode(error) === 'EEXIST') return true;
    if (errorCode(error) === 'ENOENT') return false;
    if (isUnlinkable(error)) return true;
    throw error;
  }
}

/** Some file systems have no second names, at least not in other directories (BeeGFS). There it is used where it is. */
function isUnlinkable(error: unknown): boolean {
  return ['EPERM', 'EXDEV', 'EMLINK', 'ENOTSUP', 'EOPNOTSUPP'].includes(errorCode(error) ?? '');
}

/** Where {@link holdLayer} and {@link holdFresh} leave a layer. */
function heldLayer(directory: string, digest: string): string {
  return join(directory, `${hexOf(digest)}.layer`);
}

export async function openHeldLayer(layout: Layout, directory: string, digest: string): Promise<FileHandle> {
  const flags = constants.O_RDONLY | constants.O_NOFOLLOW;
  try {
    return await open(heldLayer(directory, digest), flags);
  } catch (error) {
    if (errorCode(error) !== 'ENOENT') throw error;
    return await open(layout.layer(digest), flags);
  }
}

/** A layer that was just converted. */
interface FreshLayer {
  /** The open layer file, at `path` in `directory`. */
  readonly file: FileHandle;
  readonly path: string;
  readonly directory: string;
}

/**
 * Holds a layer that is not in the cache yet, as {@link holdLayer} does.
 *
 * @returns false where that has to wait for {@link storeLayer}.
 */
export async function holdFresh(digest: string, { path, directory }: FreshLayer): Promise<boolean> {
  try {
    await link(path, heldLayer(directory, digest));
    return true;
  } catch (error) {
    if (isUnlinkable(error)) return false;
    throw error;
  }
}

/** Adds a layer that was just converted to the cache, once the disk has it. */
export async function storeLayer(
  layout: Layout,
  digest: string,
  { file, path, directory }: FreshLayer,
  record: LayerRecord,
): Promise<void> {
  await file.chmod(0o444);
  await file.sync();
  await moveIntoPlace(path, layout.layer(digest));
  await writeRecord(layout, digest, record, directory);
}

/** What the cache is to know of a layer. */
export function layerRecord({ diffId, size, bytes, entries }: MadeLayer, proved: Proved): LayerRecord {
  return { diffId, size, unpacked: bytes, entries, ...proved };
}

/** Notes that a user has shown to have the layer. What two daemons note at once may be lost, and be shown again. */
export async function grantLayer(
  layout: Layout,
  digest: string,
  uid: number,
  everyone: boolean,
  temporary: string,
): Promise<void> {
  const record = await readLayer(layout, digest);
  if (!record) return;
  const granted = prove(record, uid, everyone);
  if (granted.everyone === record.everyone && granted.uids === record.uids) return;
  await writeRecord(layout, digest, granted, temporary);
}

/** Drops a layer from the cache. */
export async function dropLayer(layout: Layout, digest: string): Promise<void> {
  await rm(layout.layerRecord(digest), { force: true });
  await rm(layout.layer(digest), { force: true });
}

function writeRecord(layout: Layout, digest: string, record: LayerRecord, temporary: string): Promise<void> {
  return writeDurably(layout.layerRecord(digest), `${JSON.stringify(record)}\n`, temporary);
}

function isLayerRecord(value: unknown): value is LayerRecord {
  if (!isJsonObject(value)) return false;
  const { diffId, size, unpacked, entries, everyone, uids } = value;
  return (
    typeof diffId === 'string' &&
    isDigest(diffId) &&
    [size, unpacked, entries].every(isCount) &&
    typeof everyone === 'boolean' &&
    isListOfUids(uids)
  );
}
