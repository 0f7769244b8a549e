import { createHash } from 'node:crypto';
import { mkdir, open, readFile, rename, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { ImageView } from '../commands/images.js';
import type { Descriptor, Layer } from './layer.js';

// The image layout and manifest of the OCI image specification, version 1.0.

const MANIFEST_TYPE = 'application/vnd.oci.image.manifest.v1+json';
const CONFIG_TYPE = 'application/vnd.oci.image.config.v1+json';
const REF_NAME = 'org.opencontainers.image.ref.name';

type JsonObject = Readonly<Record<string, unknown>>;

/** Makes the directories of a layout, or takes one that is there. Returns where its blobs go. */
export async function prepareLayout(layout: string): Promise<string> {
  const blobs = join(layout, 'blobs', 'sha256');
  await mkdir(blobs, { recursive: true });
  await writeFile(join(layout, 'oci-layout'), '{"imageLayoutVersion":"1.0.0"}\n');
  return blobs;
}

/**
 * Adds an image of one layer to a layout, under a tag; an image that had the tag loses it. Readers see the old index or the
 * new one.
 *
 * @returns the digest of its manifest.
 */
export async function addImage(
  layout: string,
  { image, config }: { readonly image: ImageView; readonly config: JsonObject | undefined },
  layer: Layer,
  tag: string,
): Promise<string> {
  const blobs = join(layout, 'blobs', 'sha256');
  const configBlob = await writeBlob(blobs, CONFIG_TYPE, configFor(image, config, layer));
  const manifest = await writeBlob(blobs, MANIFEST_TYPE, {
    schemaVersion: 2,
    mediaType: MANIFEST_TYPE,
    config: configBlob,
    layers: [layer.blob],
  });
  const others = (await manifestsOf(layout)).filter((entry) => tagOf(entry) !== tag);
  const index = { schemaVersion: 2, manifests: [...others, { ...manifest, annotations: { [REF_NAME]: tag } }] };
  await replace(join(layout, 'index.json'), JSON.stringify(index));
  return manifest.digest;
}

/** The configuration that the image came with, for what is one layer now. */
function configFor({ platform = '', created }: ImageView, config: JsonObject = {}, { diffId }: Layer): JsonObject {
  const [os = 'linux', architecture = hostArchitecture(), variant] = platform === '' ? [] : platform.split('/');
  const date = new Date(created * 1000).toISOString();
  return {
    created: date,
    architecture,
    os,
    ...(variant === undefined ? {} : { variant }),
    config: {},
    ...config,
    rootfs: { type: 'layers', diff_ids: [diffId] },
    // The steps that made it, none of which is a layer any more.
    history: [{ created: date, created_by: 'berth export' }],
  };
}

/** In Go's words, which are OCI's. */
function hostArchitecture(): string {
  const names: Readonly<Record<string, string>> = { x64: 'amd64', ia32: '386', ppc64: 'ppc64le' };
  return names[process.arch] ?? process.arch;
}

async function writeBlob(blobs: string, mediaType: string, content: JsonObject): Promise<Descriptor> {
  const bytes = Buffer.from(JSON.stringify(content));
  const hex = createHash('sha256').update(bytes).digest('hex');
  await replace(join(blobs, hex), bytes);
  return { mediaType, digest: `sha256:${hex}`, size: bytes.length };
}

/** @throws Error when the index is none: it is not for berth to overwrite what it does not understand. */
async function manifestsOf(layout: string): Promise<readonly JsonObject[]> {
  const path = join(layout, 'index.json');
  let text: string;
  try {
    text = await readFile(path, 'utf8');
  } catch {
    return [];
  }
  const index: unknown = JSON.parse(text);
  const manifests = isObject(index) ? index['manifests'] : undefined;
  if (!Array.isArray(manifests) || !manifests.every(isObject))
    throw new Error(`${path} is not the index of an OCI layout`);
  return manifests;
}

function tagOf(entry: JsonObject): unknown {
  return isObject(entry['annotations']) ? entry['annotations'][REF_NAME] : undefined;
}

async function replace(path: string, content: string | Buffer): Promise<void> {
  const unfinished = `${path}.unfinished-${process.pid}`;
  const file = await open(unfinished, 'w', 0o644);
  try {
    await file.writeFile(content);
    await file.sync();
  } finally {
    await file.close();
  }
  await rename(unfinished, path);
}

function isObject(value: unknown): value is JsonObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
