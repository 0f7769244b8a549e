import { spawn, type ChildProcess } from 'node:child_process';
import { createHash } from 'node:crypto';
import { createWriteStream } from 'node:fs';
import { rename } from 'node:fs/promises';
import { join } from 'node:path';
import { Transform, type Readable, type TransformCallback, type Writable } from 'node:stream';
import { pipeline } from 'node:stream/promises';

export type Compression = 'gzip' | 'zstd' | 'none';

/** A blob of an OCI layout. */
export interface Descriptor {
  readonly mediaType: string;
  readonly digest: string;
  /** In bytes. */
  readonly size: number;
}

export interface Layer {
  readonly blob: Descriptor;
  /** Digest of the archive in it. */
  readonly diffId: string;
}

const LAYER_TYPE = 'application/vnd.oci.image.layer.v1.tar';

/** Level 3 is what other tools take; --rsyncable and the like would change nothing for a reader. */
const programs: Readonly<Record<Compression, readonly [string, ...string[]]>> = {
  gzip: ['gzip', '-nc'],
  zstd: ['zstd', '-qc', '-T0'],
  none: ['cat'],
};

/** How much of a program's words is kept, in characters. */
const MESSAGE_LIMIT = 2000;

/**
 * Writes a squashfs image as one layer, a tar archive of its files, into the blobs of an OCI layout.
 *
 * @param file descriptor of the image.
 * @param blobs an existing directory: "blobs/sha256".
 * @param watch hears how many bytes of archive there were, each time there are more.
 * @throws Error with what failed
 */
export async function writeLayer(
  file: number,
  blobs: string,
  compression: Compression,
  watch: (bytes: number) => void,
  signal: AbortSignal,
): Promise<Layer> {
  const [program, ...argv] = programs[compression];
  // The root directory too, with its owner and mode.
  const tar = ['--no-skip', '--root-becomes', '.', '/proc/self/fd/3'];
  const archiver = start('sqfs2tar', tar, ['ignore', 'pipe', 'pipe', file], signal);
  const compressor = start(program, argv, ['pipe', 'pipe', 'pipe'], signal);
  const archive = new Meter(watch);
  const blob = new Meter(() => undefined);
  const unfinished = join(blobs, `.unfinished-${process.pid}`);
  await Promise.all([
    pipeline(readableOf(archiver.child), archive, writableOf(compressor.child), { signal }).catch(ignored),
    pipeline(readableOf(compressor.child), blob, createWriteStream(unfinished, { flags: 'wx' }), { signal }),
    archiver.ended,
    compressor.ended,
  ]);
  const digest = blob.digest();
  await rename(unfinished, join(blobs, digest.slice('sha256:'.length)));
  const suffix = compression === 'none' ? '' : `+${compression}`;
  return {
    blob: { mediaType: `${LAYER_TYPE}${suffix}`, digest, size: blob.bytes },
    diffId: archive.digest(),
  };
}

/** Counts and hashes what goes through. */
class Meter extends Transform {
  bytes = 0;
  readonly #hash = createHash('sha256');

  constructor(private readonly watch: (bytes: number) => void) {
    super({ highWaterMark: 1024 * 1024 });
  }

  override _transform(chunk: Buffer, _encoding: BufferEncoding, callback: TransformCallback): void {
    this.bytes += chunk.length;
    this.#hash.update(chunk);
    this.watch(this.bytes);
    callback(null, chunk);
  }

  digest(): string {
    return `sha256:${this.#hash.digest('hex')}`;
  }
}

interface Running {
  readonly child: ChildProcess;
  /** Rejects, in the program's words, when it has ended badly. */
  readonly ended: Promise<void>;
}

function start(
  program: string,
  argv: readonly string[],
  stdio: ('ignore' | 'pipe' | number)[],
  signal: AbortSignal,
): Running {
  const child = spawn(program, argv, { stdio, env: { ...process.env, LC_ALL: 'C' }, signal, killSignal: 'SIGKILL' });
  let said = '';
  child.stderr?.setEncoding('utf8').on('data', (words: string) => {
    said = (said + words).slice(-MESSAGE_LIMIT);
  });
  const ended = new Promise<void>((resolve, reject) => {
    child.once('error', (error) => {
      reject(new Error(`${program}: ${error.message}`));
    });
    child.once('close', (status, killed) => {
      if (status === 0) resolve();
      else reject(new Error(`${program}: ${said.trim() || `it ended with ${killed ?? `status ${String(status)}`}`}`));
    });
  });
  ended.catch(() => undefined);
  return { child, ended };
}

function readableOf({ stdout }: ChildProcess): Readable {
  if (!stdout) throw new Error('the program has no standard output');
  return stdout;
}

function writableOf({ stdin }: ChildProcess): Writable {
  if (!stdin) throw new Error('the program has no standard input');
  return stdin;
}

/** What broke a pipe says so itself, and better. */
function ignored(): void {
  return undefined;
}
