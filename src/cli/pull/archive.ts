import { resolve } from 'node:path';
import { BerthError } from '../../errors/index.js';
import type { Workplace } from '../import/layers.js';
import { lastWords } from './explain.js';
import { chooseImage, digestOf, MANIFEST_LIMIT, parseDocument } from './manifest.js';
import { hostPlatform, showPlatform, type Platform } from './platform.js';
import { ImageProxy } from './proxy.js';
import { readPlatform, type RemoteImage } from './remote.js';
import { runSkopeo, SkopeoError } from './skopeo.js';

/** skopeo's names for images in files. */
export const transports = ['docker-archive', 'oci-archive', 'oci'] as const;
export type Transport = (typeof transports)[number];

/** An image in layers that lies in a file, or in a directory. */
export interface ArchiveReference {
  readonly transport: Transport;
  /** Up to the first colon, as skopeo has it. */
  readonly path: string;
  /** Which of its images, where it has several. */
  readonly name: string | undefined;
}

/** Reads docker-archive:FILE[:NAME], oci-archive:FILE[:NAME] or oci:DIRECTORY[:NAME]; undefined when it is none of these. */
export function parseArchive(text: string): ArchiveReference | undefined {
  const [, transport, path = '', name] = /^([a-z-]+):([^:]+)(?::(.+))?$/s.exec(text) ?? [];
  const known = transports.find((one) => one === transport);
  return known && { transport: known, path, name };
}

/**
 * Finds the image in an archive: the only one, or that of the name.
 *
 * @param text what the user calls it.
 * @throws BerthError BERTH_IMPORT_SOURCE, BERTH_PULL_MANIFEST, BERTH_PULL_PLATFORM, BERTH_PULL_TOOL; the signal's reason
 */
export async function findInArchive(
  { transport, path: given, name }: ArchiveReference,
  { path, temporary }: Pick<Workplace, 'path' | 'temporary'>,
  text: string,
  signal: AbortSignal,
): Promise<RemoteImage> {
  const place = `${transport}:${path}${name === undefined ? '' : `:${name}`}`;
  const source = `${transport}:${resolve(given)}${name === undefined ? '' : `:${name}`}`;
  const explain = (error: unknown): unknown =>
    error instanceof SkopeoError
      ? new BerthError('BERTH_IMPORT_SOURCE', { source: text, why: faultIn(error.message) }, { cause: error })
      : error;
  try {
    const wish = hostPlatform();
    const globalOptions = ['--tmpdir', temporary, ...overrides(wish)];
    const open = (within: AbortSignal): Promise<ImageProxy> =>
      ImageProxy.open({ reference: place, globalOptions }, within);
    const bytes = await readManifest({ place, text, globalOptions, open }, wish, signal);
    const document = parseDocument(bytes, text);
    if (document.type === 'index')
      throw new BerthError('BERTH_PULL_MANIFEST', { name: text, why: 'its index leads to another index' });
    const { config, layers } = document;
    return {
      subject: { name: text, registry: text },
      source,
      manifest: { bytes, digest: digestOf(bytes) },
      index: undefined,
      config,
      layers,
      platform: await readPlatform(config, open, signal),
      everyone: false,
      // Each skopeo unpacks a compressed archive for itself.
      streams: 1,
      open,
      explain,
    };
  } catch (error) {
    signal.throwIfAborted();
    throw explain(error);
  }
}

interface Opened {
  readonly place: string;
  readonly text: string;
  readonly globalOptions: readonly string[];
  readonly open: (signal: AbortSignal) => Promise<ImageProxy>;
}

/**
 * The manifest as it stands in the archive. Of an index skopeo chooses the image, and gives its manifest in OCI's form,
 * which has to be the original's for its digests to hold.
 */
async function readManifest(
  { place, text, globalOptions, open }: Opened,
  wish: Platform,
  signal: AbortSignal,
): Promise<Buffer> {
  const top = await runSkopeo([...globalOptions, 'inspect', '--raw', place], signal, { limit: MANIFEST_LIMIT });
  const document = parseDocument(top, text);
  if (document.type === 'image') return top;
  chooseImage(document.images, wish, text);
  const proxy = await open(signal);
  try {
    const bytes = await proxy.manifest();
    if (document.images.some(({ digest }) => digest === digestOf(bytes))) return bytes;
    const why = `of its images, the one for ${showPlatform(wish)} is in Docker's format: give it an archive of its own`;
    throw new BerthError('BERTH_PULL_MANIFEST', { name: text, why });
  } finally {
    await proxy.close();
  }
}

function overrides({ os, architecture, variant }: Platform): string[] {
  const more = variant === undefined ? [] : ['--override-variant', variant];
  return ['--override-os', os, '--override-arch', architecture, ...more];
}

function faultIn(words: string): string {
  if (words.includes('expected 1 item, got') || /more than one image|choose/.test(words))
    return 'it does not hold just one image: say which, as FILE:NAME:TAG';
  if (/not found|no descriptor found/.test(words)) return 'it holds no image of that name';
  if (words.includes('no such file') || words.includes('file does not exist'))
    return 'it is not there, or is no such archive';
  if (/invalid tar header|unexpected EOF/.test(words)) return 'it is no whole tar archive';
  return lastWords(words);
}
