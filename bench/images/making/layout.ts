/** Reading an OCI image layout. */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';

/** A layer of an image, as its manifest has it. */
export interface LayerBlob {
  readonly digest: string;
  /** Bytes, compressed. */
  readonly size: number;
  readonly path: string;
}

/** The layers of a tag, the lowest first. */
export async function layersOf(layout: string, tag: string): Promise<readonly LayerBlob[]> {
  const blob = (digest: string): string => join(layout, 'blobs', ...digest.split(':'));
  const index = await readJson(join(layout, 'index.json'));
  const entry = list(index, 'manifests').find(
    ({ annotations }) => isObject(annotations) && annotations['org.opencontainers.image.ref.name'] === tag,
  );
  if (typeof entry?.['digest'] !== 'string') throw new Error(`${layout} has no image with the tag ${tag}`);
  const manifest = await readJson(blob(entry['digest']));
  return list(manifest, 'layers').map(({ digest, size }) => ({
    digest: String(digest),
    size: Number(size),
    path: blob(String(digest)),
  }));
}

async function readJson(path: string): Promise<unknown> {
  return JSON.parse(await readFile(path, 'utf8')) as unknown;
}

function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null;
}

function list(value: unknown, key: string): readonly Readonly<Record<string, unknown>>[] {
  const found = isObject(value) ? value[key] : undefined;
  return Array.isArray(found) ? found.filter(isObject) : [];
}
