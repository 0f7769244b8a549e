import { execFile } from 'node:child_process';
import { createReadStream, createWriteStream, type ReadStream } from 'node:fs';
import { link, lstat, mkdtemp, readdir, rename, rm } from 'node:fs/promises';
import { basename, dirname, join, resolve } from 'node:path';
import type { Writable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { promisify } from 'node:util';
import { errorCode } from '../../errors/index.js';
import { usage } from '../arguments.js';
import type { OpenImage } from './fetch.js';
import { writeLayer, type Compression } from './layer.js';
import { addImage, prepareLayout } from './layout.js';

const run = promisify(execFile);

/** Where an image is to go; a `stream` is standard output, and gets the squashfs file. */
export interface Destination {
  readonly kind: 'squashfs' | 'stream' | 'oci-archive' | 'oci';
  readonly path: string;
  readonly tag: string;
}

/** Where skopeo and podman could write an image to, and berth cannot. */
const OTHER_TRANSPORTS = /^(docker-archive|docker-daemon|docker|containers-storage|dir|sif):./s;

/**
 * FILE, "-", oci:DIR[:TAG] or oci-archive:FILE[:TAG].
 *
 * @throws BerthError BERTH_USAGE
 */
export function parseDestination(text: string, image: string): Destination {
  if (text === '-') return { kind: 'stream', path: '-', tag: '' };
  const [, other] = OTHER_TRANSPORTS.exec(text) ?? [];
  if (other !== undefined) {
    const why = `it writes a squashfs file, oci-archive:FILE or oci:DIRECTORY; skopeo copy makes ${other}: of these`;
    throw usage(`berth export was given ${text}`, why, 'export');
  }
  const [, kind, rest] = /^(oci|oci-archive):(.+)$/s.exec(text) ?? [];
  if (kind === undefined || rest === undefined) return { kind: 'squashfs', path: resolve(text), tag: '' };
  const [, path = rest, given] = /^(.+?):([A-Za-z0-9_][A-Za-z0-9._-]*)$/s.exec(rest) ?? [];
  const own = image.slice(image.lastIndexOf(':') + 1);
  const tag = given ?? (image.lastIndexOf(':') > image.lastIndexOf('/') ? own : 'latest');
  return { kind: kind === 'oci' ? 'oci' : 'oci-archive', path: resolve(path), tag };
}

export interface ExportOptions {
  readonly compression: Compression;
  /** Replace a file that is there. */
  readonly force: boolean;
  /** Hears how many bytes have been read or written. */
  readonly watch: (bytes: number) => void;
}

/**
 * Writes an image, with the user's own rights. A file appears when it is complete; a layout's index changes when all else
 * is there. What is unfinished goes when this fails.
 *
 * @param output standard output, for a stream.
 * @throws Error with what failed
 */
export async function writeImage(
  source: OpenImage,
  destination: Destination,
  options: ExportOptions,
  output: Writable,
  signal: AbortSignal,
): Promise<void> {
  const { path, kind, tag } = destination;
  if (kind === 'stream') {
    await pipeline(reading(source, options.watch), output, { signal });
    return;
  }
  if (kind === 'oci') {
    await intoLayout(source, path, tag, options, signal);
    return;
  }
  if (!options.force && (await exists(path))) throw new Error('it exists already; --force replaces it');
  const directory = await mkdtemp(join(dirname(path), `.${basename(path).slice(0, 100)}.`));
  try {
    const finished = join(directory, 'image');
    if (kind === 'squashfs') {
      const file = reading(source, options.watch);
      await pipeline(file, createWriteStream(finished, { flags: 'wx', flush: true }), { signal });
    } else {
      const layout = join(directory, 'layout');
      await intoLayout(source, layout, tag, options, signal);
      const argv = ['--create', `--file=${finished}`, `--directory=${layout}`, '--sort=name', '--owner=0', '--group=0'];
      await run('tar', [...argv, '--', ...(await readdir(layout))], { signal });
    }
    if (options.force) await rename(finished, path);
    // A file that somebody has made meanwhile is not to be lost.
    else await link(finished, path);
  } finally {
    await rm(directory, { recursive: true, force: true });
  }
}

/** The image file from its beginning. */
function reading(source: OpenImage, watch: (bytes: number) => void): ReadStream {
  const file = createReadStream('', { fd: source.file, autoClose: false, start: 0, highWaterMark: 1024 * 1024 });
  let bytes = 0;
  file.on('data', (chunk) => {
    bytes += chunk.length;
    watch(bytes);
  });
  return file;
}

async function intoLayout(
  source: OpenImage,
  path: string,
  tag: string,
  { compression, watch }: ExportOptions,
  signal: AbortSignal,
): Promise<void> {
  await addImage(
    path,
    source,
    await writeLayer(source.file, await prepareLayout(path), compression, watch, signal),
    tag,
  );
}

async function exists(path: string): Promise<boolean> {
  try {
    await lstat(path);
    return true;
  } catch (error) {
    if (errorCode(error) === 'ENOENT') return false;
    throw error;
  }
}
