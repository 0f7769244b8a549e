import { readFile } from 'node:fs/promises';
import { isDeepStrictEqual } from 'node:util';
import { errorCode } from '../errors/index.js';
import { prove, type Proved } from '../policy/index.js';
import { isDigest } from './digest.js';
import { writeDurably } from './durable.js';
import type { Layout } from './layout.js';
import { isCount, isJsonObject, isListOfUids, parseJson, type ImageRecord, type JsonObject } from './record.js';

/** Which image was made of a manifest, and all that a name for it has to know. */
export interface ManifestRecord extends Proved {
  /** Digest of the image file. */
  readonly image: string;
  /** Of the image file, in bytes. */
  readonly size: number;
  readonly platform: string;
  /** Digests of the blobs, the lowest first. */
  readonly layers: readonly string[];
  readonly config: JsonObject;
}

/** What was made of a manifest; undefined when nothing was. */
export async function readManifestRecord(layout: Layout, digest: string): Promise<ManifestRecord | undefined> {
  try {
    const value = parseJson(await readFile(layout.manifest(digest), 'utf8'));
    return isManifestRecord(value) ? value : undefined;
  } catch (error) {
    if (errorCode(error) === 'ENOENT') return undefined;
    throw error;
  }
}

/** Notes what was made of a manifest, and that this user has shown to have it. */
export async function grantManifest(
  layout: Layout,
  digest: string,
  made: ManifestRecord,
  uid: number,
  everyone: boolean,
  temporary: string,
): Promise<void> {
  const granted = prove(made, uid, everyone);
  const before = await readManifestRecord(layout, digest);
  if (before && isDeepStrictEqual(before, granted)) return;
  await writeDurably(layout.manifest(digest), `${JSON.stringify(granted)}\n`, temporary);
}

/** The record of an image under a name that it gets now. */
export function recordUnder(
  name: Pick<ImageRecord, 'name' | 'source' | 'owner'> & { readonly index?: string | undefined },
  manifest: string,
  { image, size, platform, layers, config }: ManifestRecord,
): ImageRecord {
  const { name: text, source, owner, index } = name;
  const created = Math.floor(Date.now() / 1000);
  return {
    ...{ name: text, digest: image, size, created, source, owner, format: 'squashfs' },
    ...{ manifest, platform, layers, config },
    ...(index !== undefined && { index }),
  };
}

function isManifestRecord(value: unknown): value is ManifestRecord {
  if (!isJsonObject(value)) return false;
  const { image, size, platform, layers, config, everyone, uids } = value;
  return (
    typeof image === 'string' &&
    isDigest(image) &&
    isCount(size) &&
    typeof platform === 'string' &&
    Array.isArray(layers) &&
    layers.every((layer) => typeof layer === 'string' && isDigest(layer)) &&
    isJsonObject(config) &&
    typeof everyone === 'boolean' &&
    isListOfUids(uids)
  );
}
