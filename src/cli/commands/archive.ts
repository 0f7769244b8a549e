import { closeSync, fstatSync, openSync, writeSync, type BigIntStats } from 'node:fs';
import { Socket } from 'node:net';
import { hostname } from 'node:os';
import { PassThrough } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { BerthError, errorCode, reasonOf } from '../../errors/index.js';
import type { Call, Command } from '../command.js';
import { openDescriptor } from '../import/source.js';
import { ArchiveFault, LayersFound, TarFilter } from '../import/tar-filter.js';

/** The file, the archive, and where progress goes. */
const FILE = 0;
const ARCHIVE = 1;
const PROGRESS = 3;

/** Milliseconds from one line of progress to the next. */
const INTERVAL = 200;

/** What a program has whose reader has had enough: 128 and SIGPIPE. */
const READER_GONE = 141;

/** berthd's reader of files that are given as images: it runs with the rights of whose job it is. */
export const archive: Command = {
  name: 'archive',
  summary: 'write the content of an image file as a tar archive, for berthd',
  synopsis: ['archive PATH SIZE:MODIFIED:CHANGED'],
  description: [
    'berthd runs this for a job whose image is a file. Standard input is the file, which PATH is only a name of; standard ' +
      'output gets the archive, and descriptor 3 a line for each step of progress. It fails if at the end the file has ' +
      'not the size, in bytes, and the times, in nanoseconds, that are given.',
  ],
  options: [],
  operands: ['PATH', 'STATE'],
  examples: [],
  run: writeArchive,
};

async function writeArchive({ operands: [path = '', state = ''] }: Call): Promise<number> {
  try {
    const output = new Socket({ fd: ARCHIVE, readable: false, writable: true });
    const source = await openDescriptor(path, path, FILE);
    try {
      await pipeline(source.archive, meter(), new TarFilter(), output);
      await source.finished;
    } catch (error) {
      // A decompressor that fails cuts the archive short: its own words are the cause.
      if (error instanceof ArchiveFault && error.atEnd) await source.finished;
      throw error;
    } finally {
      source.stop();
    }
  } catch (error) {
    if (errorCode(error) === 'EPIPE') return READER_GONE;
    // Half a file is nothing that one has to be told about: it was changed.
    checkState(path, state);
    throw new BerthError('BERTH_FILE_UNUSABLE', { path, host: hostname(), why: explain(error) }, { cause: error });
  }
  checkState(path, state);
  return 0;
}

function explain(error: unknown): string {
  if (error instanceof LayersFound) return `${error.message}; such images need a name: berth import NAME FILE`;
  return error instanceof BerthError ? error.why : reasonOf(error);
}

/** Opened once more: a file system of the network asks its server then. */
function checkState(path: string, state: string): void {
  const { size, mtimeNs, ctimeNs } = look();
  if (state === [size, mtimeNs, ctimeNs].join(':')) return;
  throw new BerthError('BERTH_FILE_CHANGED', { path, host: hostname(), why: 'its size or its times are not the same' });
}

function look(): BigIntStats {
  const file = openSync(`/proc/self/fd/${FILE}`, 'r');
  try {
    return fstatSync(file, { bigint: true });
  } finally {
    closeSync(file);
  }
}

function meter(): PassThrough {
  let shown = Date.now();
  let bytes = 0;
  const stream = new PassThrough({ highWaterMark: 1024 * 1024 });
  stream.on('data', (chunk: Buffer) => {
    bytes += chunk.length;
    if (Date.now() - shown < INTERVAL) return;
    shown = Date.now();
    writeSync(PROGRESS, `${JSON.stringify({ bytes })}\n`);
  });
  return stream;
}
