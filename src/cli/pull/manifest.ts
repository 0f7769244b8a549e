import { createHash } from 'node:crypto';
import { BerthError } from '../../errors/index.js';
import { isDigest } from '../../image/digest.js';
import { fitness, showPlatform, type Platform } from './platform.js';

/** A blob that a manifest names. */
export interface Blob {
  readonly digest: string;
  /** In bytes. */
  readonly size: number;
}

/** What a registry, or an archive, has under a name. */
export type Document =
  | { readonly type: 'image'; readonly config: Blob; readonly layers: readonly Blob[] }
  | { readonly type: 'index'; readonly images: readonly { readonly digest: string; readonly platform: Platform }[] };

/** Longest manifest or index that is taken, in bytes, as in the distribution specification's advice. */
export const MANIFEST_LIMIT = 4 * 1024 * 1024;

const indexes = [
  'application/vnd.oci.image.index.v1+json',
  'application/vnd.docker.distribution.manifest.list.v2+json',
];
const manifests = [
  'application/vnd.oci.image.manifest.v1+json',
  'application/vnd.docker.distribution.manifest.v2+json',
];
const configs = ['application/vnd.oci.image.config.v1+json', 'application/vnd.docker.container.image.v1+json'];

export function digestOf(bytes: Buffer): string {
  return `sha256:${createHash('sha256').update(bytes).digest('hex')}`;
}

/**
 * Reads a manifest or an index. This only finds out what to ask for: berthd reads it again, and believes nobody.
 *
 * @param name what an error calls the image.
 * @throws BerthError BERTH_PULL_MANIFEST
 */
export function parseDocument(bytes: Buffer, name: string): Document {
  if (bytes.length > MANIFEST_LIMIT) throw unsupported(name, `its manifest has ${bytes.length} bytes`);
  const value = parseJson(bytes);
  if (value === undefined)
    throw unsupported(name, 'its manifest is no JSON: it came damaged, or something else came in its place');
  if (!isObject(value)) throw unsupported(name, 'its manifest is not a JSON object');
  if (value['schemaVersion'] === 1)
    throw unsupported(name, "it is of Docker's version 1, which registries gave up in 2016");
  const type = mediaType(value);
  // OCI allows the type to be left out; what there is then tells.
  if (indexes.includes(type ?? '') || (type === undefined && Array.isArray(value['manifests']))) {
    return { type: 'index', images: list(value['manifests']).flatMap((entry) => indexEntry(entry, name)) };
  }
  if (type !== undefined && !manifests.includes(type)) throw unsupported(name, `it is of type ${type}`);
  const config = value['config'];
  const configType = mediaType(config);
  if (!configs.includes(configType ?? '')) {
    throw unsupported(name, `what it holds is ${configType ?? 'not said'}, not a container image`);
  }
  return {
    type: 'image',
    config: blob(config, name),
    layers: list(value['layers']).map((layer) => {
      if (mediaType(layer)?.includes('encrypted')) throw unsupported(name, 'its layers are encrypted');
      return blob(layer, name);
    }),
  };
}

/**
 * The image of an index that serves the platform best.
 *
 * @throws BerthError BERTH_PULL_PLATFORM
 */
export function chooseImage(
  images: readonly { readonly digest: string; readonly platform: Platform }[],
  wish: Platform,
  name: string,
): { readonly digest: string; readonly platform: Platform } {
  let best: (typeof images)[number] | undefined;
  let bestFitness = 0;
  for (const image of images) {
    const fits = fitness(image.platform, wish);
    if (fits > bestFitness) {
      best = image;
      bestFitness = fits;
    }
  }
  if (best) return best;
  const others = [...new Set(images.map(({ platform }) => showPlatform(platform)))];
  throw new BerthError('BERTH_PULL_PLATFORM', {
    name,
    platform: showPlatform(wish),
    why: others.length === 0 ? 'its index names no image' : `it is made for ${others.join(', ')}`,
  });
}

/** The platform that an image's configuration names; undefined where it names none. */
export function platformOf(config: Buffer): Platform | undefined {
  const value = parseJson(config);
  return isObject(value) ? platform(value) : undefined;
}

function indexEntry(entry: unknown, name: string): { digest: string; platform: Platform }[] {
  if (!isObject(entry)) throw unsupported(name, 'its index names something that is not an image');
  const { digest } = entry;
  if (typeof digest !== 'string' || !isDigest(digest))
    throw unsupported(name, 'its index has an entry without a digest');
  const found = isObject(entry['platform']) ? platform(entry['platform']) : undefined;
  // What was signed or attested of an image stands beside it, for a platform of its own.
  if (found?.os === 'unknown') return [];
  return [{ digest, platform: found ?? { os: 'unknown', architecture: 'unknown' } }];
}

function platform(fields: Readonly<Record<string, unknown>>): Platform | undefined {
  const { os, architecture, variant } = fields;
  if (typeof os !== 'string' || typeof architecture !== 'string' || os === '' || architecture === '') return undefined;
  return { os, architecture, ...(typeof variant === 'string' && variant !== '' ? { variant } : {}) };
}

function blob(value: unknown, name: string): Blob {
  if (isObject(value)) {
    const { digest, size } = value;
    if (typeof digest === 'string' && isDigest(digest) && Number.isSafeInteger(size) && Number(size) >= 0) {
      return { digest, size: Number(size) };
    }
  }
  throw unsupported(name, 'its manifest names a part without digest (sha256) and size');
}

function mediaType(value: unknown): string | undefined {
  const type = isObject(value) ? value['mediaType'] : undefined;
  return typeof type === 'string' ? type : undefined;
}

function list(value: unknown): readonly unknown[] {
  return Array.isArray(value) ? value : [];
}

function parseJson(bytes: Buffer): unknown {
  try {
    return JSON.parse(bytes.toString());
  } catch {
    return undefined;
  }
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function unsupported(name: string, why: string): BerthError {
  return new BerthError('BERTH_PULL_MANIFEST', { name, why });
}
