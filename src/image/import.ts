import { spawn } from 'node:child_process';
import { constants } from 'node:fs';
import { open, rm, type FileHandle } from 'node:fs/promises';
import { join } from 'node:path';
import { BerthError, reasonOf } from '../errors/index.js';
import { convert, holdsDeviceNodes, CONVERTER_GID, CONVERTER_UID } from './converter.js';
import { moveIntoPlace } from './durable.js';
import { isStorageFull, storeFailure } from './failures.js';
import type { Layout, Scope } from './layout.js';
import { publishNames } from './names.js';
import type { ImageRecord } from './record.js';
import { superblockFault } from './superblock.js';
import { makeTemporary, type Owner } from './temporary.js';

/** How much of where an image came from is kept, in characters: a long path. */
const SOURCE_LIMIT = 4096;

export interface ImportOptions {
  /** With its tag. */
  readonly name: string;
  readonly scope: Scope;
  readonly source: string;
  /**
   * Resolves when the client says that the archive is whole: a stream can end properly although its maker failed.
   * Rejects when the client has gone away.
   */
  readonly complete: Promise<void>;
}

export interface ImportPlace {
  readonly layout: Layout;
  readonly self: Owner;
  readonly compressionLevel: number;
}

/**
 * Makes an image of a tar archive and gives it a name. Until the last step nothing of it can be seen: the image file
 * appears whole under its digest, then its record, and the name at the end.
 *
 * @throws BerthError BERTH_STORE_FULL, BERTH_STORE_UNUSABLE, BERTH_IMPORT_FAILED
 */
export async function importArchive(place: ImportPlace, options: ImportOptions, archive: number): Promise<ImageRecord> {
  const { layout, self } = place;
  let temporary: string | undefined;
  try {
    temporary = await makeTemporary(layout.temporary, self);
    const { digest, size } = await makeImage(place, options, archive, temporary);
    const record: ImageRecord = {
      name: options.name,
      digest,
      size,
      created: Math.floor(Date.now() / 1000),
      source: options.source.slice(0, SOURCE_LIMIT),
      owner: options.scope,
      format: 'squashfs',
    };
    await publishNames(layout, options.scope, record, temporary);
    return record;
  } catch (error) {
    throw error instanceof BerthError ? error : storeFailure(layout.root, error);
  } finally {
    if (temporary !== undefined) await rm(temporary, { recursive: true, force: true });
  }
}

interface Image {
  readonly digest: string;
  /** In bytes. */
  readonly size: number;
}

/** Converts, checks, and moves the image to its place under images/. */
async function makeImage(
  { layout, compressionLevel }: ImportPlace,
  options: ImportOptions,
  archive: number,
  temporary: string,
): Promise<Image> {
  const file = join(temporary, 'image');
  const { O_CREAT, O_EXCL, O_RDWR, O_NOFOLLOW } = constants;
  const image = await open(file, O_CREAT | O_EXCL | O_RDWR | O_NOFOLLOW, 0o600);
  try {
    await image.chown(CONVERTER_UID, CONVERTER_GID);
    await fill(image, temporary, layout, compressionLevel, options, archive);
    await image.chown(process.geteuid?.() ?? 0, process.getegid?.() ?? 0);
    await image.chmod(0o444);
    await image.sync();
    const { size } = await image.stat();
    const fault = await superblockFault(image, size);
    if (fault !== undefined) throw failed(options.name, `the image made of the archive is not usable: ${fault}`);
    if (await holdsDeviceNodes(temporary, 'image')) {
      throw failed(options.name, 'the archive has device nodes, which an image must not have');
    }
    const digest = await sha256(file);
    await keep(file, layout.image(digest), digest);
    return { digest, size };
  } finally {
    await image.close();
  }
}

/** Runs the converter and waits for the client's word that what it read was all. */
async function fill(
  image: FileHandle,
  directory: string,
  layout: Layout,
  compressionLevel: number,
  { name, complete }: ImportOptions,
  archive: number,
): Promise<void> {
  const gone = new AbortController();
  const departure = complete.then(
    () => undefined,
    (reason: unknown) => {
      gone.abort();
      return failed(name, `the client gave up: ${inWords(reason)}`);
    },
  );
  const conversion = await convert(archive, directory, 'image', compressionLevel, gone.signal);
  if (gone.signal.aborted) throw (await departure) ?? failed(name, 'the client gave up');
  if (!conversion.ok) {
    const full = await probeFull(image);
    if (full !== undefined) throw storeFailure(layout.root, full);
    throw failed(name, conversion.why);
  }
  const left = await departure;
  if (left) throw left;
}

/** tar2sqfs calls a full file system "I/O error": what the kernel says to one more write tells. */
async function probeFull(image: FileHandle): Promise<unknown> {
  try {
    const { size } = await image.stat();
    await image.write(Buffer.alloc(256 * 1024, 1), 0, undefined, size);
    await image.sync();
    return undefined;
  } catch (error) {
    return isStorageFull(error) ? error : undefined;
  }
}

/**
 * Puts an image file under its digest. One that is there already and whole is kept: containers may be running from it,
 * and they share its cached pages with the next.
 */
async function keep(finished: string, place: string, digest: string): Promise<void> {
  const present = await sha256(place).catch(() => undefined);
  if (present !== digest) await moveIntoPlace(finished, place);
}

/**
 * The SHA-256 of a file, computed by sha256sum(1): gigabytes hashed in this process would hold up every launch on the
 * node meanwhile.
 */
async function sha256(path: string): Promise<string> {
  const handle = await open(path, constants.O_RDONLY | constants.O_NOFOLLOW);
  try {
    const sum = await output('sha256sum', handle.fd);
    const [hex = ''] = sum.split(' ');
    if (!/^[0-9a-f]{64}$/.test(hex)) throw new Error(`sha256sum of ${path} gave ${JSON.stringify(sum)}`);
    return `sha256:${hex}`;
  } finally {
    await handle.close();
  }
}

function output(program: string, input: number): Promise<string> {
  return new Promise((resolve, reject) => {
    const child = spawn('nice', ['-n', '10', program], { stdio: [input, 'pipe', 'ignore'] });
    let text = '';
    child.stdout?.setEncoding('utf8').on('data', (chunk: string) => {
      text += chunk;
    });
    child.once('error', reject);
    child.once('close', (status) => {
      if (status === 0) resolve(text);
      else reject(new Error(`${program} ended with status ${status ?? 'unknown'}`));
    });
  });
}

function inWords(reason: unknown): string {
  if (reason instanceof BerthError) return reason.why;
  return reasonOf(reason);
}

function failed(name: string, why: string): BerthError {
  return new BerthError('BERTH_IMPORT_FAILED', { name, why });
}
