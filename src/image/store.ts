import { closeSync } from 'node:fs';
import { stat } from 'node:fs/promises';
import { hostname } from 'node:os';
import { BerthError, errorCode, reasonOf } from '../errors/index.js';
import { isNativeError, native, type FileStatus, type ImageMount } from '../native/index.js';
import { mayUseImage } from '../policy/index.js';
import { imageInPlace } from './condemned.js';
import { makeDirectory } from './durable.js';
import { storeFailure } from './failures.js';
import { FileImages } from './file-images.js';
import { importArchive } from './import.js';
import { forgetUses, lastUse, promiseImage, unuseImage, useImage } from './keeping.js';
import { Layout, type Scope } from './layout.js';
import { findImage, listNames, type ListedImage } from './names.js';
import type { ImageRecord } from './record.js';
import { parseImportName } from './reference.js';
import { listShared } from './shared.js';
import { currentOwner, removeStale, type Owner } from './temporary.js';
import { saveArchives, type SaveOrder } from './saved.js';
import type { MadeImage } from './converter.js';
import { Turns } from './turns.js';
import { Upkeep } from './upkeep.js';
import type { Workshop } from './workshop.js';

/** As [store] of the configuration. */
export interface StoreOptions {
  /** Absolute. */
  readonly path: string;
  /** zstd's, 1 to 22. */
  readonly compressionLevel: number;
  /** In GiB of its files. */
  readonly largestImage?: number;
  readonly mostEntries?: number;
}

export interface ImportRequest {
  /** As the user gave it. */
  readonly name: string;
  /** Who will see it, as policy has decided. */
  readonly owner: 'site' | number;
  /** What to say where the image came from. */
  readonly source: string;
  /**
   * Resolves when the client has said that the archive is whole (ImportEnd); rejects when its connection ends before,
   * which stops the import.
   */
  readonly complete: Promise<void>;
}

/** The images of a site, and its users' own. Only berthd writes here. */
export class ImageStore {
  /** For those in this room who make images. */
  readonly workshop: Workshop;
  /** What people do with images that are there. */
  readonly upkeep: Upkeep;
  /** Which node pulls or makes what launches need. */
  readonly turns: Turns;
  /** What is made of files that stand in an image's place. */
  readonly files: FileImages;

  private constructor(
    { compressionLevel, largestImage, mostEntries }: StoreOptions,
    private readonly layout: Layout,
    private readonly self: Owner,
  ) {
    const mostBytes = largestImage === undefined ? undefined : largestImage * 1024 ** 3;
    this.upkeep = new Upkeep(this, layout, self);
    this.workshop = { layout, self, compressionLevel, mostBytes, mostEntries };
    this.turns = new Turns(this.workshop);
    this.files = new FileImages(this.workshop);
  }

  /**
   * Makes the store's directories unless they are there, its own too if its parent exists.
   *
   * @throws BerthError BERTH_STORE_UNUSABLE when it is not a directory that this process's user alone can write to;
   * BERTH_STORE_FULL.
   */
  static async open(options: StoreOptions): Promise<ImageStore> {
    const { path } = options;
    const layout = new Layout(path);
    try {
      await makeDirectory(path);
      const found = await stat(path);
      if (!found.isDirectory()) throw unusable(path, 'it is not a directory');
      if (found.uid !== ownUid()) throw unusable(path, `it belongs to uid ${found.uid}, not to uid ${ownUid()}`);
      if ((found.mode & 0o022) !== 0) throw unusable(path, 'others than its owner may write to it');
      for (const directory of layout.directories()) await makeDirectory(directory);
      return new ImageStore(options, layout, await currentOwner());
    } catch (error) {
      throw error instanceof BerthError ? error : storeFailure(path, error);
    }
  }

  /**
   * Removes the unfinished work of berthds of this host that were killed; returns how many pieces. Other hosts' stay.
   *
   * @throws BerthError BERTH_STORE_UNUSABLE
   */
  async recover(): Promise<number> {
    try {
      return await removeStale(this.layout.temporary, this.self);
    } catch (error) {
      throw storeFailure(this.layout.root, error);
    }
  }

  /**
   * The image a user means; see {@link findImage}.
   *
   * @param gids all groups of the user.
   * @param user how an error calls the user; without it, as the name service does.
   * @throws BerthError BERTH_IMAGE_NAME, BERTH_IMAGE_UNKNOWN, BERTH_IMAGE_DAMAGED, BERTH_STORE_UNUSABLE
   */
  resolve(reference: string, uid: number, gids: readonly number[] = [], user?: string): Promise<ImageRecord> {
    return findImage(this.layout, reference, { uid, gids }, user);
  }

  /**
   * Opens the file of a resolved image, read-only, and makes sure on the descriptor that nobody but berthd can have
   * written it. The caller closes it.
   *
   * @throws BerthError BERTH_IMAGE_DAMAGED
   */
  async openImage(record: ImageRecord): Promise<number> {
    const path = this.layout.image(record.digest);
    const image = await this.#withFile(record, path, () => native.openFile(path));
    const why = distrust(image, record, path);
    if (why === undefined) return image.fd;
    native.close(image.fd);
    throw damaged(record, why);
  }

  /**
   * Opens the file of an image that a container runs, which keeps it from being collected. The caller closes it.
   *
   * @throws NativeError
   */
  async openFile(digest: string): Promise<number> {
    return (await native.openFile(this.layout.image(digest))).fd;
  }

  /**
   * See {@link saveArchives}. Closes the archives.
   */
  async save(order: SaveOrder): Promise<MadeImage> {
    try {
      return await saveArchives(this.workshop, order);
    } finally {
      for (const archive of order.archives) native.close(archive);
    }
  }

  /**
   * Mounts the file of a resolved image, detached, where nobody but berthd can have written it.
   *
   * @param candidate index of a loop device that may serve it already, or -1.
   * @throws BerthError BERTH_IMAGE_DAMAGED; BERTH_BUILD_FAILED where the node cannot mount any
   */
  async mountImage(record: ImageRecord, candidate: number): Promise<ImageMount> {
    const path = this.layout.image(record.digest);
    const { size, format } = record;
    const mounted = await this.#withFile(record, path, () =>
      native.mountStoredImage(path, ownUid(), size, format, candidate),
    );
    if ('mount' in mounted) return mounted;
    throw damaged(record, distrust(mounted, record, path) ?? `${path} is not trusted`);
  }

  /**
   * What a user can name: their own images and those of the site's that they may use, by name.
   *
   * @param gids all groups of the user.
   * @throws BerthError BERTH_IMAGE_DAMAGED, BERTH_STORE_UNUSABLE
   */
  async list(uid: number, gids: readonly number[] = []): Promise<ListedImage[]> {
    const scopes: Scope[] = uid === 0 ? ['site'] : [uid, 'site'];
    const records = (await Promise.all(scopes.map((scope) => listNames(this.layout, scope)))).flat();
    return records
      .filter((record) => mayUseImage({ uid, gids }, record))
      .toSorted((a, b) => (a.name < b.name ? -1 : a.name > b.name ? 1 : 0));
  }

  /**
   * What other users share with this one, by name: each can be named as "user:OWNER/NAME".
   *
   * @param gids all groups of the user.
   * @throws BerthError BERTH_STORE_UNUSABLE
   */
  listShared(uid: number, gids: readonly number[]): Promise<ListedImage[]> {
    return this.#guard(listShared(this.layout, { uid, gids }));
  }

  /**
   * Keeps an image for a job that a user is submitting, for [store] promise_days.
   *
   * @throws BerthError BERTH_STORE_FULL, BERTH_STORE_UNUSABLE
   */
  promise(digest: string, uid: number): Promise<void> {
    return this.#guard(promiseImage(this.layout, digest, uid));
  }

  /**
   * Keeps an image while a job on this host has it mounted.
   *
   * @throws BerthError BERTH_STORE_FULL, BERTH_STORE_UNUSABLE
   */
  use(digest: string, jobId: number): Promise<void> {
    return this.#guard(useImage(this.layout, digest, this.self.host, jobId));
  }

  /** @throws BerthError BERTH_STORE_UNUSABLE */
  unuse(digest: string, jobId: number): Promise<void> {
    return this.#guard(unuseImage(this.layout, digest, this.self.host, jobId));
  }

  /**
   * Forgets this host's uses but those that are given: digests, each with the jobs that have it mounted. Returns how many.
   *
   * @throws BerthError BERTH_STORE_UNUSABLE
   */
  forgetUses(stays: ReadonlyMap<string, ReadonlySet<number>>): Promise<number> {
    return this.#guard(forgetUses(this.layout, this.self.host, stays));
  }

  /**
   * When an image was last launched on any host: seconds since the epoch, 0 for never.
   *
   * @throws BerthError BERTH_STORE_UNUSABLE
   */
  lastUse(digest: string): Promise<number> {
    return this.#guard(lastUse(this.layout, digest));
  }

  /**
   * Makes an image of a plain tar archive and names it. The same archive gives the same digest and is stored once. A
   * failure, whenever it comes, leaves nothing that can be seen.
   *
   * @param archive a descriptor to read from; closed in any case.
   * @throws BerthError BERTH_IMAGE_NAME, BERTH_IMPORT_FAILED, BERTH_STORE_FULL, BERTH_STORE_UNUSABLE
   */
  async importTar({ name, owner, source, complete }: ImportRequest, archive: number): Promise<ImageRecord> {
    // Whoever else fails first, a client that leaves is no unhandled rejection.
    complete.catch(() => undefined);
    try {
      const parsed = parseImportName(name);
      return await importArchive(this.workshop, { name: parsed, scope: owner, source, complete }, archive);
    } finally {
      closeSync(archive);
    }
  }

  async #withFile<T>(record: ImageRecord, path: string, work: () => Promise<T>): Promise<T> {
    try {
      return await work().catch(async (error: unknown) => {
        // A collector on another host may have been at it: whoever needs it puts it back.
        if (errorCode(error) !== 'ENOENT' || !(await imageInPlace(this.layout, record.digest))) throw error;
        return work();
      });
    } catch (error) {
      if (isForNode(error))
        throw new BerthError('BERTH_BUILD_FAILED', { host: hostname(), why: error.message }, { cause: error });
      throw damaged(record, errorCode(error) === 'ELOOP' ? `${path} is a symbolic link` : reasonOf(error), error);
    }
  }

  async #guard<T>(work: Promise<T>): Promise<T> {
    try {
      return await work;
    } catch (error) {
      throw error instanceof BerthError ? error : storeFailure(this.layout.root, error);
    }
  }
}

/** Why the opened file is not what berthd wrote there; undefined when it is. */
function distrust(image: FileStatus, { size }: ImageRecord, path: string): string | undefined {
  if (!image.isRegular) return `${path} is not a regular file`;
  if (image.uid !== ownUid()) return `${path} belongs to uid ${image.uid}, not to uid ${ownUid()}`;
  if ((image.mode & 0o022) !== 0) return `others than its owner may write to ${path}`;
  if (image.size !== size) return `${path} has ${image.size} bytes, not ${size}`;
  return undefined;
}

/** Is it the node that lacks what mounting takes, loop devices or the kernel's squashfs? Then no image is at fault. */
function isForNode(error: unknown): error is Error {
  if (!isNativeError(error)) return false;
  const { syscall, object } = error;
  return (
    syscall === 'fsopen' || syscall.startsWith('ioctl LOOP') || (syscall === 'open' && object.startsWith('/dev/loop'))
  );
}

function ownUid(): number {
  return process.geteuid?.() ?? 0;
}

function unusable(path: string, why: string): BerthError {
  return new BerthError('BERTH_STORE_UNUSABLE', { path, why });
}

function damaged({ name }: ImageRecord, why: string, cause?: unknown): BerthError {
  return new BerthError('BERTH_IMAGE_DAMAGED', { name, why }, { cause });
}
