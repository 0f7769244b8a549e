import { createHash } from 'node:crypto';
import { closeSync } from 'node:fs';
import { stat } from 'node:fs/promises';
import { join } from 'node:path';
import { errorCode } from '../errors/index.js';
import { holdImage, imageInPlace, releaseImage } from './condemned.js';
import { makeDirectory, writeDurably } from './durable.js';
import { importAs, type Imported } from './import.js';
import { promiseImage } from './keeping.js';
import type { Layout, Scope } from './layout.js';
import { Lease, readLease } from './lease.js';
import { publishNames, readName, unknownImage } from './names.js';
import { cutSource, formatRecord, type ImageRecord } from './record.js';
import type { Workshop } from './workshop.js';

/** So old a promise is renewed when its image is launched again: milliseconds. Less often than promises end. */
const RENEWAL = 3_600_000;

/** A file that a user gave as an image. */
export interface UserFile {
  readonly uid: number;
  /** As the user gave it. */
  readonly path: string;
  /** What is the same on all nodes as long as the file is, and is not changed. */
  readonly identity: string;
}

/**
 * Images of files that users gave in an image's place. They have no name: besides its digest, a reference under the hash
 * of the file's identity finds one, in its user's scope alone. A promise keeps it for [store] promise_days after its
 * last launch; then `berth gc` takes it, and it can be made anew.
 */
export class FileImages {
  constructor(private readonly workshop: Workshop) {}

  /** What was made of the file before. */
  async find(file: UserFile): Promise<ImageRecord | undefined> {
    const { layout } = this.workshop;
    const record = await readName(layout, scopeOf(file), keyOf(file));
    if (!record) return undefined;
    await renewPromise(layout, record.digest, file.uid);
    const isKnown = (await readName(layout, scopeOf(file), record.digest)) !== undefined;
    return isKnown && (await imageInPlace(layout, record.digest)) ? record : undefined;
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

  /** The right to make it, unless somebody else does already, perhaps on another node. */
  take(file: UserFile): Promise<Lease | undefined> {
    const identity = { owner: this.workshop.self, uid: file.uid };
    return Lease.take(this.workshop.layout, leaseOf(file), identity, () => Promise.resolve({ blobs: [], made: 0 }));
  }

  /** The host on which somebody makes it; undefined when nobody does. */
  async maker(file: UserFile): Promise<string | undefined> {
    return (await readLease(this.workshop.layout, leaseOf(file), this.workshop.self))?.owner.host;
  }

  async #publish(file: UserFile, { digest, size, temporary }: Imported, remember: boolean): Promise<ImageRecord> {
    const { layout } = this.workshop;
    const scope = scopeOf(file);
    await promiseImage(layout, digest, file.uid);
    // What the same content is known as already, to this user, says more.
    const record = (await readName(layout, scope, digest)) ?? (await this.#name(file, digest, size, temporary));
    if (!remember) return record;
    await holdImage(layout, digest, temporary);
    await makeDirectory(layout.scope(scope));
    await writeDurably(layout.ref(scope, keyOf(file)), formatRecord(record), temporary);
    const isThere = await imageInPlace(layout, digest);
    await releaseImage(layout, digest, temporary);
    if (!isThere) throw await unknownImage(layout, file.path, { uid: 0, gids: [] });
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

function keyOf({ identity }: UserFile): string {
  return hash(`file ${identity}`);
}

/** Users make their images each for themselves: what one says of a file is not to be believed by another. */
function leaseOf({ uid, identity }: UserFile): string {
  return hash(`file of ${uid} ${identity}`);
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
