import { reasonOf } from '../../errors/index.js';
import {
  closeSync,
  constants,
  createReadStream,
  fstatSync,
  openSync,
  readdirSync,
  readSync,
  type Stats,
} from 'node:fs';
import { resolve } from 'node:path';
import { Readable } from 'node:stream';
import { archiveDirectory } from './directory.js';
import { HEAD, kindOf } from './kind.js';
import { BEGINNING, layersAtBeginning, layersInDirectory } from './layers.js';
import { runProgram, sourceError, type Source } from './program.js';
import { LayersFound } from './tar-filter.js';
import { BLOCK } from './tar-header.js';

/** How much of a file is read at once, in bytes. */
const CHUNK = 1024 * 1024;

/** Standard input, as Node has it. */
export interface Input extends Readable {
  readonly isTTY?: boolean;
}

/**
 * Opens what a user wants to import: a directory, a file, or "-" for standard input. Everything here happens with the
 * user's own rights.
 *
 * @throws BerthError BERTH_IMPORT_SOURCE; LayersFound when it is seen at once that it holds an image in layers.
 */
export async function openSource(text: string, stdin: Input): Promise<Source> {
  if (text === '-') return openStream(stdin);
  const path = resolve(text);
  let file: number;
  try {
    // Non-blocking, not to wait for a writer should it be a FIFO.
    file = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK);
  } catch (error) {
    throw sourceError(text, inWords(error));
  }
  try {
    return await openDescriptor(text, path, file);
  } finally {
    // Programs and streams have descriptors of their own.
    closeSync(file);
  }
}

/**
 * As {@link openSource}, of what is open already.
 *
 * @param text what the user calls it.
 * @param path what berth images shows as its source.
 * @param file stays the caller's.
 */
export async function openDescriptor(text: string, path: string, file: number): Promise<Source> {
  const stat = fstatSync(file);
  if (stat.isDirectory()) {
    const layers = layersInDirectory(readdirSync(`/proc/self/fd/${file}`));
    if (layers) throw new LayersFound(layers);
    return archiveDirectory(text, path, file);
  }
  if (!stat.isFile()) throw sourceError(text, `it is a ${describe(stat)}, not a file or directory`);
  return openFile(text, path, file);
}

async function openFile(text: string, path: string, file: number): Promise<Source> {
  const head = Buffer.alloc(HEAD);
  const kind = kindOf(head.subarray(0, readSync(file, head, 0, HEAD, 0)));
  switch (kind.type) {
    case 'tar': {
      const layers = layersAtBeginning((at) => {
        const block = Buffer.alloc(BLOCK);
        return block.subarray(0, readSync(file, block, 0, BLOCK, at));
      });
      if (layers) throw new LayersFound(layers);
      // The opened file again, whatever its name means by now.
      const archive = createReadStream(path, { fd: openSync(`/proc/self/fd/${file}`, 'r'), highWaterMark: CHUNK });
      return { label: path, archive, finished: Promise.resolve(), stop: () => archive.destroy() };
    }
    case 'compressed':
      return withoutLayers(runProgram(text, path, kind.decompress, file));
    case 'squashfs':
      // Always unpacked and built anew: the kernel is to mount nothing but what berthd's own converter wrote.
      return runProgram(text, path, ['sqfs2tar', '--no-skip', '--root-becomes', '.', '/proc/self/fd/3'], 'ignore', [
        file,
      ]);
    case 'unknown':
      throw sourceError(text, kind.why);
  }
}

/** Looks at the beginning of what a program makes, before berthd is asked for anything. */
async function withoutLayers(source: Source): Promise<Source> {
  const { head, whole } = await peek(source.archive, (read) => read.length >= BEGINNING);
  const layers = layersAtBeginning((at) => head.subarray(at, at + BLOCK));
  if (layers) {
    source.stop();
    throw new LayersFound(layers);
  }
  return { ...source, archive: whole };
}

async function openStream(stdin: Input): Promise<Source> {
  const label = 'standard input';
  if (stdin.isTTY) throw sourceError(label, 'it is a terminal');
  const { head, whole } = await peek(stdin, (read) => read.length >= HEAD || kindOf(read).type !== 'unknown');
  const kind = kindOf(head.subarray(0, HEAD));
  // A stream that waits for more is not ended by its reader: the process would wait with it.
  const close = (): void => void stdin.destroy();
  switch (kind.type) {
    case 'tar':
      return { label, archive: whole, finished: Promise.resolve(), stop: close };
    case 'compressed': {
      const source = runProgram(label, label, kind.decompress, whole);
      return {
        ...source,
        stop: () => {
          source.stop();
          close();
        },
      };
    }
    case 'squashfs':
      throw sourceError(label, 'a squashfs file cannot be read from a stream: give its path');
    case 'unknown':
      throw sourceError(label, kind.why);
  }
}

/** Reads a stream's beginning until that is enough, and gives a stream that begins with it again. */
async function peek(stream: Readable, isEnough: (read: Buffer) => boolean): Promise<{ head: Buffer; whole: Readable }> {
  const chunks = stream[Symbol.asyncIterator]() as AsyncIterator<Buffer, undefined>;
  let head: Buffer = Buffer.alloc(0);
  while (!isEnough(head)) {
    const next = await chunks.next();
    if (next.done) break;
    head = Buffer.concat([head, next.value]);
  }
  const all = async function* (): AsyncGenerator<Buffer> {
    if (head.length > 0) yield head;
    for (let next = await chunks.next(); !next.done; next = await chunks.next()) yield next.value;
  };
  return { head, whole: Readable.from(all(), { objectMode: false }) };
}

/** The system's words, without the call and the path that Node puts around them: the path is the error's subject. */
function inWords(error: unknown): string {
  const message = reasonOf(error);
  return /^[A-Z0-9]+: (.*), \w+ '.*'$/s.exec(message)?.[1] ?? message;
}

function describe(stat: Stats): string {
  if (stat.isFIFO()) return 'FIFO (berth reads a stream as "-", from standard input)';
  if (stat.isSocket()) return 'socket';
  return 'device';
}
