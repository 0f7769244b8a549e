import { createHash } from 'node:crypto';
import { isDigest } from './digest.js';
import { CONFIG_LIMIT, isCount, isJsonObject, parseJson, type JsonObject } from './record.js';

// What a registry says of an image, as the OCI image specification and Docker's version 2, schema 2 have it. All of it is a
// stranger's. What cannot be used is thrown as a ManifestFault, in words that follow "why:".

/** Longest manifest, index and configuration that is read, in bytes: what registries take. */
export const DOCUMENT_LIMIT = 4 * 1024 * 1024;

/** More layers than this no builder makes: overlayfs takes 500, and Docker 127. */
const MOST_LAYERS = 512;

const OCI_MANIFEST = 'application/vnd.oci.image.manifest.v1+json';
const DOCKER_MANIFEST = 'application/vnd.docker.distribution.manifest.v2+json';
const OCI_INDEX = 'application/vnd.oci.image.index.v1+json';
const DOCKER_LIST = 'application/vnd.docker.distribution.manifest.list.v2+json';
const CONFIG = /^application\/vnd\.(?:oci\.image\.config|docker\.container\.image)\.v1\+json$/;
const OCI_LAYER = /^application\/vnd\.oci\.image\.layer\.(?:nondistributable\.)?v1\.tar(?:\+(?:gzip|zstd))?$/;
const DOCKER_LAYER = /^application\/vnd\.docker\.image\.rootfs\.(?:foreign\.)?diff\.tar(?:\.(?:gzip|zstd))?$/;

/**
 * More values than this no document has that is about an image. It bounds the time for which reading one holds up
 * everything else: 4 MiB of nothing but members take most of a second.
 */
const MOST_VALUES = 65_536;

/** Nor does one have more values inside one another. Writing it down again takes as much of the stack. */
const DEEPEST = 512;

const COMMA = 0x2c;
const BRACKET = 0x5b;
const BRACKET_END = 0x5d;
const BRACE = 0x7b;
const BRACE_END = 0x7d;

export class ManifestFault extends Error {}

export interface Blob {
  readonly digest: string;
  /** In bytes, as it is sent. */
  readonly size: number;
}

export interface Manifest {
  readonly config: Blob;
  /** The lowest first. The same may come more than once. */
  readonly layers: readonly Blob[];
}

export interface ImageConfig {
  /** OS/ARCHITECTURE[/VARIANT] */
  readonly platform: string;
  /** Of each layer's tar archive, the lowest first. */
  readonly diffIds: readonly string[];
  /** What is kept of it; at most {@link CONFIG_LIMIT} bytes of JSON. */
  readonly kept: JsonObject;
}

/** "sha256:…" of what is in memory. */
export function digestOf(bytes: Uint8Array): string {
  return `sha256:${createHash('sha256').update(bytes).digest('hex')}`;
}

/** @throws ManifestFault */
export function parseManifest(bytes: Uint8Array): Manifest {
  const value = objectOf(bytes, 'the manifest');
  const { mediaType } = value;
  if (mediaType === OCI_INDEX || mediaType === DOCKER_LIST || 'manifests' in value) {
    throw new ManifestFault('it is an index of images for several platforms, of which one has to be chosen');
  }
  if (value['schemaVersion'] !== 2) {
    throw new ManifestFault('its manifest is of an old form (schema 1): push it again with a present-day tool');
  }
  if (mediaType !== undefined && mediaType !== OCI_MANIFEST && mediaType !== DOCKER_MANIFEST) {
    throw new ManifestFault(`its manifest is of the unknown type ${show(mediaType)}`);
  }
  const config = blobOf(value['config'], 'its configuration');
  const configType = isJsonObject(value['config']) ? value['config']['mediaType'] : undefined;
  if (typeof configType !== 'string' || !CONFIG.test(configType)) {
    throw new ManifestFault(`it is no container image, but has a configuration of the type ${show(configType)}`);
  }
  if (config.size > DOCUMENT_LIMIT) throw new ManifestFault(`its configuration has ${config.size} bytes`);
  const layers = layersOf(value['layers']);
  if (layers.some(({ digest }) => digest === config.digest))
    throw new ManifestFault('a layer of it is its configuration');
  return { config, layers };
}

/**
 * Does the index have the manifest?
 *
 * @throws ManifestFault
 */
export function indexHas(bytes: Uint8Array, manifest: string): boolean {
  const { manifests } = objectOf(bytes, 'the index');
  if (!Array.isArray(manifests)) throw new ManifestFault('its index is none');
  return manifests.some((entry: unknown) => isJsonObject(entry) && entry['digest'] === manifest);
}

/** @throws ManifestFault */
export function parseConfig(bytes: Uint8Array, layers: number): ImageConfig {
  const value = objectOf(bytes, 'the configuration');
  const { os, architecture, variant, rootfs } = value;
  if (os !== 'linux') throw new ManifestFault(`it is an image for ${show(os)}, not for linux`);
  if (typeof architecture !== 'string' || !/^[a-z0-9_]{1,32}$/.test(architecture)) {
    throw new ManifestFault('its configuration does not say for which architecture it is');
  }
  const hasVariant = typeof variant === 'string' && /^[a-z0-9_.]{1,32}$/.test(variant);
  const diffIds: unknown = isJsonObject(rootfs) ? rootfs['diff_ids'] : undefined;
  if (!Array.isArray(diffIds) || !diffIds.every(isDigestValue) || diffIds.length !== layers) {
    throw new ManifestFault('its configuration and its manifest do not have the same layers');
  }
  return { platform: `linux/${architecture}${hasVariant ? `/${variant}` : ''}`, diffIds, kept: shortened(value) };
}

/** How it was built is of little use to those who run it, and what makes configurations large. */
function shortened(config: JsonObject): JsonObject {
  const withoutHistory = Object.fromEntries(Object.entries(config).filter(([name]) => name !== 'history'));
  const kept = [config, withoutHistory].find((one) => Buffer.byteLength(JSON.stringify(one)) <= CONFIG_LIMIT);
  if (!kept) throw new ManifestFault(`its configuration is larger than ${CONFIG_LIMIT} bytes, its history left out`);
  return kept;
}

function layersOf(value: unknown): Blob[] {
  if (!Array.isArray(value) || value.length === 0) throw new ManifestFault('it has no layers');
  if (value.length > MOST_LAYERS) throw new ManifestFault(`it has ${value.length} layers, more than ${MOST_LAYERS}`);
  const sizes = new Map<string, number>();
  return value.map((entry: unknown, at) => {
    const blob = blobOf(entry, `its layer ${at + 1}`);
    const mediaType = isJsonObject(entry) ? entry['mediaType'] : undefined;
    if (typeof mediaType !== 'string' || !(OCI_LAYER.test(mediaType) || DOCKER_LAYER.test(mediaType))) {
      throw new ManifestFault(`its layer ${at + 1} is of the type ${show(mediaType)}, which is no tar archive`);
    }
    if ((sizes.get(blob.digest) ?? blob.size) !== blob.size) {
      throw new ManifestFault(`its layer ${at + 1} has another size than the same layer below`);
    }
    sizes.set(blob.digest, blob.size);
    return blob;
  });
}

function blobOf(value: unknown, what: string): Blob {
  if (!isJsonObject(value)) throw new ManifestFault(`the manifest does not say where ${what} is`);
  const { digest, size } = value;
  if (!isDigestValue(digest)) throw new ManifestFault(`${what} has the digest ${show(digest)}, where SHA-256 is known`);
  if (!isCount(size)) throw new ManifestFault(`${what} has no size`);
  return { digest, size };
}

function objectOf(bytes: Uint8Array, what: string): JsonObject {
  if (mayHaveMoreValues(bytes)) throw new ManifestFault(`${what} has more than ${MOST_VALUES} values`);
  if (mayBeDeeper(bytes)) throw new ManifestFault(`${what} has more than ${DEEPEST} values inside one another`);
  const value = parseJson(Buffer.from(bytes).toString());
  if (isJsonObject(value)) return value;
  throw new ManifestFault(`${what} is no JSON object`);
}

/** Each value but the first follows one of these; in strings they count too, of which there are few. */
function mayHaveMoreValues(bytes: Uint8Array): boolean {
  let left = MOST_VALUES;
  for (const byte of bytes) {
    if ((byte === COMMA || byte === BRACKET || byte === BRACE) && --left < 0) return true;
  }
  return false;
}

/** Those in strings count too, where they mostly come in pairs. */
function mayBeDeeper(bytes: Uint8Array): boolean {
  let depth = 0;
  for (const byte of bytes) {
    if (byte === BRACKET || byte === BRACE) depth++;
    else if (byte === BRACKET_END || byte === BRACE_END) depth--;
    if (depth > DEEPEST) return true;
  }
  return false;
}

function isDigestValue(value: unknown): value is string {
  return typeof value === 'string' && isDigest(value);
}

/** A stranger's value in an error: short, whatever it is. */
function show(value: unknown): string {
  return value === undefined ? 'none' : JSON.stringify(value).slice(0, 100);
}
