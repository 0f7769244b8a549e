import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, fstatSync, openSync, readSync } from 'node:fs';
import { mkdtemp, open, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { reasonOf } from '../../errors/index.js';
import { HEAD, kindOf } from './kind.js';
import { sourceError } from './program.js';
import { BLOCK, HeaderFault, isZero, parseHeader } from './tar-header.js';

export type LayersTransport = 'docker-archive' | 'oci-archive';

/** How many entries at an archive's beginning are looked at: some have directories before the first file. */
const ENTRIES = 4;
/** How many bytes of a stream are looked at for them. */
export const BEGINNING = ENTRIES * BLOCK;

/**
 * What an entry's name tells of an archive: there are such names in an image's layers, and in no root file system.
 *
 * @returns skopeo's name for such archives.
 */
export function layersByName(name: string): LayersTransport | undefined {
  const path = name
    .split('/')
    .filter((part) => part !== '' && part !== '.')
    .join('/');
  if (/^[0-9a-f]{64}(?:\.json|\.tar|\/layer\.tar)$/.test(path)) return 'docker-archive';
  return /^blobs\/sha256\/[0-9a-f]{64}$/.test(path) ? 'oci-archive' : undefined;
}

/**
 * Does a tar archive begin as one of an image's layers does?
 *
 * @param read gives a block of the archive, or less where that is not to be had.
 */
export function layersAtBeginning(read: (at: number) => Buffer): LayersTransport | undefined {
  try {
    for (let entry = 0, at = 0; entry < ENTRIES; entry++) {
      const block = read(at);
      if (block.length < BLOCK || isZero(block)) return undefined;
      const { name, size } = parseHeader(block);
      const found = layersByName(name);
      if (found) return found;
      at += BLOCK + Math.ceil(size / BLOCK) * BLOCK;
    }
  } catch (error) {
    // What is wrong with it is told when it is read.
    if (!(error instanceof HeaderFault)) throw error;
  }
  return undefined;
}

/**
 * Does a directory hold what an archive of an image in layers does?
 *
 * @param names of what lies in it.
 */
export function layersInDirectory(names: readonly string[]): LayersTransport | undefined {
  // The file that an OCI image layout must have.
  if (names.includes('oci-layout')) return 'oci-archive';
  return names.some((name) => layersByName(name) === 'docker-archive') ? 'docker-archive' : undefined;
}

/** Where an archive can be read from, and what belongs to that. */
export interface Workplace {
  /** The archive, decompressed where it was compressed. */
  readonly path: string;
  /** A directory for skopeo, which unpacks some archives, and removes nothing when it is killed. */
  readonly temporary: string;
  readonly remove: () => Promise<void>;
}

/**
 * Makes an archive ready to be read by skopeo, which looks for its parts in any order, and in some versions fails at
 * gzip.
 *
 * @param path a file; a directory stays what it is.
 * @param text what the user calls it.
 * @throws BerthError BERTH_IMPORT_SOURCE; the signal's reason
 */
export async function prepareArchive(path: string, text: string, signal: AbortSignal): Promise<Workplace> {
  const kind = kindOf(readHead(path, text));
  // As skopeo chooses: an image may be larger than a /tmp in memory.
  const temporary = await mkdtemp(join(process.env['TMPDIR'] ?? '/var/tmp', 'berth-archive-'));
  const remove = (): Promise<void> => rm(temporary, { recursive: true, force: true });
  if (kind.type !== 'compressed') return { path, temporary, remove };
  try {
    const whole = join(temporary, 'archive.tar');
    await decompress(kind.decompress, path, whole, signal);
    return { path: whole, temporary, remove };
  } catch (error) {
    await remove();
    signal.throwIfAborted();
    throw sourceError(text, reasonOf(error));
  }
}

async function decompress(
  [program, ...argv]: readonly [string, ...string[]],
  from: string,
  to: string,
  signal: AbortSignal,
): Promise<void> {
  const input = await open(from, 'r');
  const output = await open(to, 'wx', 0o600);
  try {
    const child = spawn(program, argv, { stdio: [input.fd, output.fd, 'pipe'], signal, killSignal: 'SIGKILL' });
    let said = '';
    child.stderr?.setEncoding('utf8').on('data', (words: string) => (said += words.slice(0, 1000)));
    const [status] = (await once(child, 'close')) as [number | null];
    if (status !== 0) throw new Error(said.trim().split('\n')[0] || `${program} ended with status ${String(status)}`);
  } finally {
    await input.close();
    await output.close();
  }
}

function readHead(path: string, text: string): Buffer {
  const head = Buffer.alloc(HEAD);
  let file: number;
  try {
    file = openSync(path, 'r');
  } catch (error) {
    throw sourceError(text, /^[A-Z0-9]+: (.*), open /.exec(reasonOf(error))?.[1] ?? reasonOf(error));
  }
  try {
    if (fstatSync(file).isDirectory()) return head.subarray(0, 0);
    return head.subarray(0, readSync(file, head, 0, HEAD, 0));
  } finally {
    closeSync(file);
  }
}
