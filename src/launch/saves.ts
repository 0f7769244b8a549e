import { hostname } from 'node:os';
import type { Config } from '../config/index.js';
import type { Container, Registry } from '../container/index.js';
import { BerthError, reasonOf } from '../errors/index.js';
import { SaveFault, unpackImage, type ImageStore } from '../image/index.js';
import { native, packerExecutable } from '../native/index.js';
import { OpenFault } from './opener.js';
import type { Caller, LaunchOrder } from './order.js';
import { SavedFile } from './saved-file.js';
import {
  collectMessages,
  endOf,
  endOnAbort,
  spawnEnclosed,
  tellRegularly,
  type Waiter,
  whyEnded,
} from './user-process.js';

/** A container that was saved. */
export interface Saved {
  readonly path: string;
  readonly digest: string;
  /** In bytes. */
  readonly size: number;
}

/** What begins the name by which a container of a file that is mounted as it is, is known: PathImages. */
const OF_A_FILE = 'file ';

/** Saves containers as squashfs files of their users: docs/adr/0020. */
export class Saves {
  constructor(
    private readonly config: Config,
    private readonly store: ImageStore,
    private readonly registry: Registry,
  ) {}

  /**
   * Saves the container of a step as the file that its options name.
   *
   * @param caller in whose mount namespace the file's path is
   * @param waiter without whom nothing is saved: slurm/save.c goes when the step is cancelled
   * @throws BerthError BERTH_SAVE, BERTH_STORE_FULL, BERTH_STORE_UNUSABLE
   */
  async save(order: LaunchOrder, caller: Caller, waiter: Waiter): Promise<Saved> {
    const path = order.options.save ?? '';
    const name = `${order.nodeName || hostname()}: saving the container as ${path}`;
    const stopTelling = tellRegularly((inWords) => {
      waiter.tell(inWords ? name : '');
    });
    const gone = new AbortController();
    void waiter.gone.then(() => gone.abort(new SaveFault('whoever waited for it is gone')));
    const { saveTimeout } = this.config.container;
    const late = new AbortController();
    const limit = setTimeout(() => {
      late.abort(new SaveFault(`it took longer than ${saveTimeout} s ([container] save_timeout)`));
    }, saveTimeout * 1000);
    try {
      const container = this.#find(order);
      return await this.#saveAs(path, container, caller, AbortSignal.any([gone.signal, late.signal]));
    } catch (error) {
      if (!(error instanceof SaveFault) && !(error instanceof OpenFault)) throw error;
      throw new BerthError('BERTH_SAVE', { path, host: order.nodeName || hostname(), why: error.message });
    } finally {
      clearTimeout(limit);
      stopTelling();
    }
  }

  async #saveAs(path: string, container: Container, caller: Caller, signal: AbortSignal): Promise<Saved> {
    const timeout = this.config.container.buildTimeout * 1000;
    const file = await SavedFile.make(container, path, caller.pidfd, timeout);
    try {
      const { digest, size } = await this.#write(container, file.descriptor, signal);
      await file.commit();
      return { path, digest, size };
    } finally {
      file.close();
    }
  }

  /** That of this step where there are several. */
  #find({ jobId, stepId, uid, optionsKey, image }: LaunchOrder): Container {
    const all = this.registry
      .all()
      .filter((container) => container.jobId === jobId && container.uid === uid)
      .filter((container) => (container.optionsKey ?? '') === optionsKey)
      .filter(({ requestedImage, image: path }) => image === '' || image === requestedImage || image === path);
    const found = all.find(({ launches }) => launches.some((launch) => launch.stepId === stepId)) ?? all[0];
    if (!found) throw new SaveFault('the step has no container on this node');
    if (found.isWritable) return found;
    throw new SaveFault('the container is read-only: make it with --container-writable or --container-save');
  }

  /** Two layers: the image as it is, whose files keep their owners, and what was written. */
  async #write(container: Container, output: number, signal: AbortSignal): Promise<{ digest: string; size: number }> {
    const failed = new AbortController();
    const stop = AbortSignal.any([signal, failed.signal]);
    const archives: number[] = [];
    const archiving = [
      this.#archive(archives, (archive) => this.#archiveImage(container, archive, stop)),
      this.#archive(archives, (archive) => pack('changes', container, archive, stop)),
    ];
    for (const work of archiving) work.catch((error: unknown) => failed.abort(error));
    const complete = Promise.all(archiving).then(() => undefined);
    complete.catch(() => undefined);
    try {
      return await this.store.save({ archives, output, complete, signal: stop });
    } catch (error) {
      signal.throwIfAborted();
      throw failed.signal.aborted ? failed.signal.reason : error;
    } finally {
      failed.abort(new SaveFault('it is over'));
      await complete.catch(() => undefined);
    }
  }

  /** Has an archive written to a pipe; the other end is added to `archives`. */
  #archive(archives: number[], write: (archive: number) => Promise<void>): Promise<void> {
    const { readEnd, writeEnd } = native.pipe();
    archives.push(readEnd);
    return write(writeEnd);
  }

  async #archiveImage(container: Container, archive: number, signal: AbortSignal): Promise<void> {
    // Not the store's: read where it is mounted.
    if (container.requestedImage.startsWith(OF_A_FILE)) return pack('image', container, archive, signal);
    let image: number | undefined;
    try {
      image = await this.store.openFile(container.digest);
      await unpackImage(image, archive, signal);
    } catch (error) {
      throw error instanceof SaveFault ? error : new SaveFault(`the image could not be read: ${reasonOf(error)}`);
    } finally {
      if (image !== undefined) native.close(image);
      native.close(archive);
    }
  }
}

/** Has the user's process archive what is in their container. Closes `archive`. */
async function pack(
  what: 'changes' | 'image',
  { uid, gid, gids, namespaces, userNamespace }: Container,
  archive: number,
  signal: AbortSignal,
): Promise<void> {
  const [first, second] = namespaces;
  const [mount, user] = userNamespace ? [second, first] : [first, undefined];
  const argv = [packerExecutable, what, ...[uid, gid, ...gids].map(String)];
  const child = spawnEnclosed(argv, ['ignore', archive, 'pipe', mount ?? 'ignore', user ?? 'ignore']);
  native.close(archive);
  const messages = collectMessages(child);
  const stopEnding = endOnAbort(child, [signal]);
  try {
    const status = await endOf(child);
    if (status === 0) return;
    const why = whyEnded('reading it', child, messages(), status);
    throw new SaveFault(`what was written could not be read: ${why}`);
  } finally {
    stopEnding();
  }
}
