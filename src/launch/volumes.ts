import type { Config } from '../config/index.js';
import type { PreparedVolume } from '../container/index.js';
import { BerthError, toErrorMessage } from '../errors/index.js';
import type { ImageStore } from '../image/index.js';
import { isNativeError, native } from '../native/index.js';
import { checkSize, type ContainerOptions, type SquashfsVolume } from '../options/index.js';
import { makeCache } from './cache-file.js';
import type { ImageMounts } from './image-mounts.js';
import type { Caller, FoundFile, LaunchOrder, VolumeFiles } from './order.js';
import type { PathImages, WantedFile } from './path-images.js';
import { closeAside } from './opener.js';
import type { Timeline } from './timeline.js';
import type { Waiter } from './user-process.js';

/** Errors of a file that is to be an image, and not a volume. */
const OF_IMAGES: readonly string[] = ['BERTH_FILE_UNUSABLE', 'BERTH_FILE_CHANGED', 'BERTH_IMPORT_FAILED'];

/** Volumes that are mounted, and not in a container yet. */
export interface MountedVolumes {
  /** Detached mounts, in the order of the plan; {@link closeVolumes} is for whoever has them. */
  readonly descriptors: readonly number[];
  /** Of those that the image store has. */
  readonly digests: readonly string[];
}

/** Does a container with these options have volumes that only the ranks' view of the host can say? */
export function preparesVolumes({ volumes }: ContainerOptions): boolean {
  return volumes.some(({ kind }) => kind === 'squashfs' || kind === 'cache');
}

/** Of the caches that these options ask for, in MiB. */
export function cacheSizeOf({ volumes }: ContainerOptions): number {
  return volumes.reduce((sum, volume) => sum + (volume.kind === 'cache' ? volume.size : 0), 0);
}

/**
 * @param others of the job's other containers on this node, in MiB
 * @throws BerthError BERTH_SIZE when there is no room for those of one more.
 */
export function checkCacheSize(options: ContainerOptions, others: number, { volumes }: Config): void {
  const wanted = cacheSizeOf(options);
  const cache = options.volumes.find(({ kind }) => kind === 'cache');
  if (cache) checkSize(wanted + others, volumes.cacheLimit, '[volumes] cache_limit, for a job on a node', cache.origin);
}

/**
 * Finds the files of the container's squashfs volumes, and has images of them made where the site wants that.
 *
 * @param namespace inode of the caller's mount namespace
 * @returns what {@link closeVolumeFiles} is for.
 * @throws BerthError BERTH_VOLUME_FILE, BERTH_MOUNT_DENIED, BERTH_STORE_FULL, BERTH_STORE_UNUSABLE
 */
export async function findVolumeFiles(
  order: LaunchOrder,
  pathImages: PathImages,
  { store }: Config,
  caller: Caller,
  namespace: number,
  waiter: Waiter,
): Promise<VolumeFiles> {
  const files = new Map<string, FoundFile>();
  const sources = order.options.volumes.flatMap((volume) => (volume.kind === 'squashfs' ? [volume.source] : []));
  try {
    for (const source of new Set(sources)) {
      if (store.files === 'fuse' || store.files === 'refuse') throw refused(source, order, store.files);
      const wanted: WantedFile = { ...order, image: source, isVolume: true };
      const finding = pathImages.find(wanted, caller, namespace, waiter);
      files.set(source, await finding.catch((error: unknown) => Promise.reject(ofVolume(error, source, order))));
    }
    return files;
  } catch (error) {
    closeVolumeFiles(files);
    throw error;
  }
}

export function closeVolumeFiles(files: VolumeFiles): void {
  for (const { descriptor } of files.values()) if (descriptor !== undefined) closeAside(descriptor);
}

export function closeVolumes({ descriptors }: MountedVolumes): void {
  for (const descriptor of descriptors) native.close(descriptor);
}

/** Mounts what the builder, which has only the user's rights, cannot. */
export class Volumes {
  constructor(
    private readonly config: Config,
    private readonly store: ImageStore,
    private readonly images: ImageMounts,
  ) {}

  /**
   * @param prepared of the plan
   * @throws BerthError BERTH_VOLUME_FILE, BERTH_CACHE, BERTH_MOUNT_DENIED, BERTH_IMAGE_DAMAGED, BERTH_STORE_UNUSABLE
   */
  async mount(
    order: LaunchOrder,
    caller: Caller,
    prepared: readonly PreparedVolume[],
    timeline: Timeline,
  ): Promise<MountedVolumes> {
    if (prepared.length === 0) return { descriptors: [], digests: [] };
    return timeline.measure('volumes', () => this.#mountAll(order, caller, prepared));
  }

  async #mountAll(order: LaunchOrder, caller: Caller, prepared: readonly PreparedVolume[]): Promise<MountedVolumes> {
    const digests: string[] = [];
    const mounting = prepared.map((volume) =>
      volume.kind === 'cache' ? makeCache(order, volume, caller, this.config) : this.#mountFile(order, volume, digests),
    );
    const settled = await Promise.allSettled(mounting);
    const failed = settled.find(({ status }) => status === 'rejected');
    const descriptors = settled.flatMap((result) => (result.status === 'fulfilled' ? [result.value] : []));
    if (failed?.status !== 'rejected') return { descriptors, digests };
    closeVolumes({ descriptors, digests });
    throw failed.reason;
  }

  /** Its files belong to whom they belong to on the host, as if the directory that it was made of were mounted. */
  async #mountFile(order: LaunchOrder, { source }: SquashfsVolume, digests: string[]): Promise<number> {
    const found = order.volumeFiles?.get(source);
    if (!found) throw new Error(`the file of the volume ${source} was not looked for`);
    if (found.descriptor === undefined) {
      const record = await this.store.resolve(found.image, order.uid, [order.gid, ...order.gids]);
      digests.push(record.digest);
      return this.images.mountStored(record);
    }
    try {
      return (await native.mountImage(found.descriptor, 'squashfs', -1)).mount;
    } catch (error) {
      if (!isNativeError(error)) throw error;
      throw new BerthError('BERTH_VOLUME_FILE', { path: source, host: order.nodeName, why: error.message });
    }
  }
}

function refused(path: string, { nodeName }: LaunchOrder, policy: string): BerthError {
  const why =
    policy === 'fuse'
      ? '[store] files = "fuse": this site has files served by FUSE, which is for images and not for volumes'
      : '[store] files = "refuse": this site mounts no files of users';
  return new BerthError('BERTH_VOLUME_FILE', { path, host: nodeName, why });
}

/** What is wrong with a file that is to be an image, of one that is to be a volume. */
function ofVolume(error: unknown, path: string, { nodeName }: LaunchOrder): Error {
  const { code, why } = toErrorMessage(error);
  if (OF_IMAGES.includes(code))
    return new BerthError('BERTH_VOLUME_FILE', { path, host: nodeName, why }, { cause: error });
  return error instanceof Error ? error : new Error(why);
}
