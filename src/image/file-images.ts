import { createHash } from 'node:crypto';
import { closeSync } from 'node:fs';
import { stat } from 'node:fs/promises';
import { join } from 'node:path';
import { errorCode } from '../errors/index.js';
import { native } from '../native/index.js';
import { imageInPlace } from './condemned.js';
import { isDigest } from './digest.js';
import { writeDurably } from './durable.js';
import { storeFailure } from './failures.js';
import { importAs, type Imported } from './import.js';
import { promiseImage } from './keeping.js';
import type { Layout, Scope } from './layout.js';
import { publishNames, readName } from './names.js';
import { cutSource, isJsonObject, parseJson, type ImageRecord } from './record.js';
import type { Workshop } from './workshop.js';

/** So old a promise is renewed when its image is launched again: milliseconds. Less often than promises end. */
const RENEWAL = 3_600_000;

/** In bytes: a path, and a little more. */
const LARGEST_NOTE = 32_768;

/** A file that a user gave as an image. */
export interface UserFile {
  readonly uid: number;
  /** As the user gave it. */
  readonly path: string;
  /**
   * What is the same on all nodes as long as the file is, and is not changed. Its first two words stay when the file is
   * changed in its place.
   */
  readonly identity: string;
}

/**
 * Images of files that users gave in an image's place. They have no name, only their digest in their user's scope; a note
 * under files/ says which was made of which file, for that user. A promise keeps the image for [store] promise_days after
 * its last launch; then `berth gc` takes it with its note, and it can be made anew.
 */
export class FileImages {
  constructor(private readonly workshop: Workshop) {}

  /** What was made of the file before. */
  async find(file: UserFile): Promise<ImageRecord | undefined> {
    const { layout } = this.workshop;
    const digest = await readNote(layout, file);
    const record = digest === undefined ? undefined : await readName(layout, scopeOf(file), digest);
    if (!record) return undefined;
    await renewPromise(layout, record.digest, file.uid);
    return (await imageInPlace(layout, record.digest)) ? record : undefined;
  }

  /**
   * Makes an image of the file's content.
   *
   * @param archive what was in the file, as a tar archive; a descriptor to read from, closed in any case.
   * @param complete as an import's.
   * @param remember whether it is certain that the identity stands for this content.
   * @throws BerthError BERTH_IMPORT_FAILED, BERTH_STORE_FULL, BERTH_STORE_UNUSABLE
   */
  async make(file: UserFile, archive: number, complete: Promise<void>, remember: boolean): Promise<ImageRecord> {
    // Whoever else fails first, a reader that fails is no unhandled rejection.
    complete.catch(() => undefined);
    try {
      return await importAs(this.workshop, { name: file.path, complete }, archive, (imported) =>
        this.#publish(file, imported, remember),
      );
    } finally {
      closeSync(archive);
    }
  }

  async #publish(file: UserFile, { digest, size, temporary }: Imported, remember: boolean): Promise<ImageRecord> {
    const { layout } = this.workshop;
    const scope = scopeOf(file);
    await promiseImage(layout, digest, file.uid);
    // What the same content is known as already, to this user, says more.
    const record = (await readName(layout, scope, digest)) ?? (await this.#name(file, digest, size, temporary));
    if (remember) await writeDurably(layout.file(keyOf(file)), formatNote(file, digest), temporary);
    return record;
  }

  #name(file: UserFile, digest: string, size: number, temporary: string): Promise<ImageRecord> {
    const scope = scopeOf(file);
    const record: ImageRecord = {
      name: digest,
      digest,
      size,
      created: Math.floor(Date.now() / 1000),
      source: cutSource(file.path),
      owner: scope,
      format: 'squashfs',
      // Root's scope is everyone's, and a file that root may read is not.
      ...(scope === 'site' ? { access: { everyone: false, uids: [], gids: [] } } : {}),
    };
    return publishNames(this.workshop.layout, scope, record, temporary);
  }
}

function scopeOf({ uid }: UserFile): Scope {
  return uid === 0 ? 'site' : uid;
}

/** Users make their images each for themselves: one that was made for another is not to be believed. */
function keyOf({ uid, identity }: UserFile): string {
  return hash(`file of ${uid} ${identity.split(' ', 2).join(' ')}`);
}

function formatNote({ identity, path }: UserFile, digest: string): string {
  return `${JSON.stringify({ digest, identity, path: cutSource(path) })}\n`;
}

/** The digest of what was made of the file as it is now. */
async function readNote(layout: Layout, file: UserFile): Promise<string | undefined> {
  try {
    const note = parseJson((await native.readFile(layout.file(keyOf(file)), LARGEST_NOTE)).toString());
    if (!isJsonObject(note) || note['identity'] !== file.identity) return undefined;
    const { digest } = note;
    return typeof digest === 'string' && isDigest(digest) ? digest : undefined;
  } catch (error) {
    if (errorCode(error) === 'ENOENT') return undefined;
    throw storeFailure(layout.root, error);
  }
}

function hash(text: string): string {
  return `sha256:${createHash('sha256').update(text).digest('hex')}`;
}

/** A launch on a thousand nodes is not to write a thousand times. */
async function renewPromise(layout: Layout, digest: string, uid: number): Promise<void> {
  try {
    const { mtimeMs } = await stat(join(layout.promisesOf(digest), `uid-${uid}`));
    if (Date.now() - mtimeMs < RENEWAL) return;
  } catch (error) {
    if (errorCode(error) !== 'ENOENT') throw error;
  }
  await promiseImage(layout, digest, uid);
}
