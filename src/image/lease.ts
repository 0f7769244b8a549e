import { link, open, readFile, rename, rm, stat, type FileHandle } from 'node:fs/promises';
import { join } from 'node:path';
import { errorCode } from '../errors/index.js';
import { storeClock } from './clock.js';
import { isDigest } from './digest.js';
import type { Layout } from './layout.js';
import { isCount, isJsonObject, parseJson } from './record.js';
import { isGone, makeTemporary, type Owner } from './temporary.js';

// A lease says that somebody makes the image of a manifest. It saves others the same work, and nothing depends on it: what
// two make at once, both may put in its place.

/** How often a holder touches its lease, and after what time without that it counts as given up: milliseconds. */
const TOUCH_INTERVAL = 2_000;
const GIVEN_UP = 10_000;

/** How far a blob has come. Sizes are in bytes. */
export interface BlobProgress {
  readonly digest: string;
  readonly size: number;
  readonly received: number;
  readonly stored: boolean;
}

/** How far a pull has come. */
export interface Progress {
  /** In the puller's words. */
  readonly blobs: readonly BlobProgress[];
  /** What berthd itself has seen of it: bytes made so far. */
  readonly made: number;
  /** How far it is, where others do the work and say so. */
  readonly words?: string;
}

/** In characters. */
const MOST_WORDS = 200;

/** A lease that somebody holds. */
export interface Held {
  readonly owner: Owner;
  readonly uid: number;
  readonly progress: Progress;
}

/** A lease of this process. */
export class Lease {
  readonly #timer: NodeJS.Timeout;
  #writing: Promise<void> = Promise.resolve();

  private constructor(
    private readonly path: string,
    private readonly file: FileHandle,
    private readonly identity: Pick<Held, 'owner' | 'uid'>,
    private readonly progress: () => Promise<Progress>,
  ) {
    this.#timer = setInterval(() => {
      this.#writing = this.#writing.then(() => this.#write());
    }, TOUCH_INTERVAL);
  }

  /**
   * Takes the lease for a manifest, unless somebody holds it.
   *
   * @param uid for whom the image is pulled.
   * @param progress what its readers are shown; asked each time the lease is touched.
   * @returns undefined when somebody else has it.
   */
  static async take(
    layout: Layout,
    manifest: string,
    identity: Pick<Held, 'owner' | 'uid'>,
    progress: () => Promise<Progress>,
  ): Promise<Lease | undefined> {
    const path = layout.lease(manifest);
    const temporary = await makeTemporary(layout.temporary, identity.owner);
    try {
      const unnamed = join(temporary, 'lease');
      const file = await open(unnamed, 'wx', 0o600);
      try {
        await writeWhole(file, { ...identity, progress: { blobs: [], made: 0 } });
        const taken =
          (await linked(unnamed, path)) ||
          ((await clearGivenUp(layout, manifest, identity.owner, temporary)) && (await linked(unnamed, path)));
        if (taken) return new Lease(path, file, identity, progress);
        await file.close();
        return undefined;
      } catch (error) {
        await file.close();
        throw error;
      }
    } finally {
      await rm(temporary, { recursive: true, force: true });
    }
  }

  /** Gives it up. One that was taken over meanwhile is its new holder's. */
  async release(): Promise<void> {
    clearInterval(this.#timer);
    await this.#writing;
    try {
      const [own, named] = await Promise.all([this.file.stat(), stat(this.path)]);
      if (own.ino === named.ino && own.dev === named.dev) await rm(this.path, { force: true });
    } catch (error) {
      if (errorCode(error) !== 'ENOENT' && errorCode(error) !== 'ESTALE') throw error;
    } finally {
      await this.file.close();
    }
  }

  /** Through its own descriptor: a successor's file is another one. That it fails costs others a little work. */
  async #write(): Promise<void> {
    try {
      await writeWhole(this.file, { ...this.identity, progress: await this.progress() });
    } catch {
      // A full store, or one that was unmounted: the pull itself will say so.
    }
  }
}

/**
 * Who holds the lease for a manifest; undefined when nobody does: it was given up, or its holder is known to be gone.
 */
export async function readLease(layout: Layout, manifest: string, self: Owner): Promise<Held | undefined> {
  const path = layout.lease(manifest);
  try {
    const text = await readFile(path, 'utf8');
    const { mtimeMs } = await stat(path);
    const held = parseLease(text);
    if (held && (await isGone(held.owner, self))) return undefined;
    if ((await storeClock(layout, self)) - mtimeMs > GIVEN_UP) return undefined;
    // While it is being written it cannot be read; somebody is there who writes.
    return (
      held ?? { owner: { host: 'another host', boot: '', pid: 0, start: '' }, uid: 0, progress: { blobs: [], made: 0 } }
    );
  } catch (error) {
    if (errorCode(error) === 'ENOENT') return undefined;
    throw error;
  }
}

/** Gives a file its name, unless that is taken. */
async function linked(file: string, name: string): Promise<boolean> {
  try {
    await link(file, name);
    return true;
  } catch (error) {
    if (errorCode(error) === 'EEXIST') return false;
    throw error;
  }
}

/**
 * Takes a lease away that was given up; false when somebody holds it. What is taken away is looked at again: another may have
 * taken it over a moment before.
 */
async function clearGivenUp(layout: Layout, manifest: string, self: Owner, temporary: string): Promise<boolean> {
  const path = layout.lease(manifest);
  try {
    const { ino } = await stat(path);
    if (await readLease(layout, manifest, self)) return false;
    const aside = join(temporary, 'given-up');
    await rename(path, aside);
    if ((await stat(aside)).ino === ino) return true;
    await linked(aside, path);
    return false;
  } catch (error) {
    // Given up for good just now, or cleared by another.
    if (errorCode(error) === 'ENOENT') return true;
    throw error;
  }
}

async function writeWhole(file: FileHandle, held: Held): Promise<void> {
  const bytes = Buffer.from(JSON.stringify(held));
  await file.write(bytes, 0, bytes.length, 0);
  await file.truncate(bytes.length);
}

function parseLease(text: string): Held | undefined {
  const value = parseJson(text);
  return isHeld(value) ? value : undefined;
}

function isHeld(value: unknown): value is Held {
  if (!isJsonObject(value)) return false;
  const { owner, uid, progress } = value;
  return isOwner(owner) && isCount(uid) && isProgress(progress);
}

function isOwner(value: unknown): boolean {
  if (!isJsonObject(value)) return false;
  const { host, boot, pid, start } = value;
  return [host, boot, start].every((text) => typeof text === 'string') && isCount(pid);
}

function isProgress(value: unknown): boolean {
  if (!isJsonObject(value)) return false;
  const { blobs, made, words = '' } = value;
  return Array.isArray(blobs) && blobs.every(isBlobProgress) && isCount(made) && areWords(words);
}

/** They go to terminals. */
function areWords(value: unknown): boolean {
  return typeof value === 'string' && value.length <= MOST_WORDS && !/\p{Cc}/u.test(value);
}

function isBlobProgress(value: unknown): boolean {
  if (!isJsonObject(value)) return false;
  const { digest, size, received, stored } = value;
  return (
    typeof digest === 'string' && isDigest(digest) && isCount(size) && isCount(received) && typeof stored === 'boolean'
  );
}
