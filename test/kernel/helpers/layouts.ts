import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Document, Image } from '../../registry/image.js';

/** Writes images as an OCI layout (without its index.json: what is pulled is named by its digest). */
export function writeLayout(directory: string, images: readonly Image[], documents: readonly Document[] = []): string {
  mkdirSync(join(directory, 'blobs', 'sha256'), { recursive: true, mode: 0o755 });
  for (const { manifest, config, layers } of images) {
    for (const { digest, bytes } of [manifest, config]) save(directory, digest, bytes);
    for (const { digest, blob } of layers) save(directory, digest, blob);
  }
  for (const { digest, bytes } of documents) save(directory, digest, bytes);
  return directory;
}

function save(directory: string, digest: string, bytes: Buffer): void {
  writeFileSync(blobPath(directory, digest), bytes, { mode: 0o644 });
}

export function blobPath(layout: string, digest: string): string {
  return join(layout, 'blobs', 'sha256', digest.slice('sha256:'.length));
}

export function readBlob(layout: string, digest: string): Buffer {
  return readFileSync(blobPath(layout, digest));
}

/** The digest of the manifest that a layout made by other tools calls `tag`. */
export function taggedManifest(layout: string, tag: string): string {
  const { manifests } = JSON.parse(readFileSync(join(layout, 'index.json'), 'utf8')) as {
    manifests: { digest: string; annotations?: Record<string, string> }[];
  };
  const found = manifests.find(({ annotations }) => annotations?.['org.opencontainers.image.ref.name'] === tag);
  if (!found) throw new Error(`${layout} has no ${tag}`);
  return found.digest;
}
