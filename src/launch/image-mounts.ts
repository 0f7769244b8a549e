import { createHash } from 'node:crypto';
import type { Config } from '../config/index.js';
import { BerthError } from '../errors/index.js';
import type { ImageRecord, ImageStore } from '../image/index.js';
import { isNativeError, native, type ImageMount } from '../native/index.js';
import type { LaunchOrder } from './order.js';
import { ServedFile } from './served-file.js';
import type { Timeline } from './timeline.js';

/** Finds the images of launches, and mounts them. */
export class ImageMounts {
  /** Which loop device serves which image: only a guess, the addon looks. */
  readonly #loops = new Map<string, number>();

  constructor(
    private readonly config: Config,
    private readonly store: ImageStore,
  ) {}

  /**
   * What the image is, for a user who may use it.
   *
   * @throws BerthError BERTH_IMAGE_UNKNOWN and its like
   */
  async find(order: LaunchOrder, timeline: Timeline): Promise<ImageRecord> {
    const { file, image, uid, gid, gids } = order;
    if (file?.descriptor !== undefined) return recordOfFile(order, file.path);
    return timeline.measure('policy', () => this.store.resolve(image, uid, [gid, ...gids]));
  }

  /**
   * The image's detached mount, or what has one served; {@link letGo} is the caller's to call.
   *
   * @throws BerthError BERTH_IMAGE_DAMAGED, BERTH_FILE_UNUSABLE, BERTH_STORE_UNUSABLE
   */
  async open(record: ImageRecord, order: LaunchOrder, timeline: Timeline): Promise<number | ServedFile> {
    const { file } = order;
    if (file?.descriptor === undefined) return timeline.measure('image mount', () => this.mountStored(record));
    const { path, descriptor } = file;
    if (this.isServed(order)) return new ServedFile({ ...order, path }, descriptor);
    try {
      return await timeline.measure('image mount', () =>
        this.#mount(record, (candidate) => native.mountImage(descriptor, record.format, candidate)),
      );
    } catch (error) {
      if (!isNativeError(error)) throw error;
      const why = error.message;
      throw new BerthError('BERTH_FILE_UNUSABLE', { path, host: order.nodeName, why }, { cause: error });
    }
  }

  /** Is the image a file that a process of the user's serves? */
  isServed({ file }: LaunchOrder): boolean {
    return file?.descriptor !== undefined && this.config.store.files === 'fuse';
  }

  /**
   * The detached mount of an image of the store; the caller closes it.
   *
   * @throws BerthError BERTH_IMAGE_DAMAGED, BERTH_STORE_UNUSABLE
   */
  mountStored(record: ImageRecord): Promise<number> {
    return this.#mount(record, (candidate) => this.store.mountImage(record, candidate));
  }

  /** @param mount gets the index of a loop device that may serve the image already, or -1 */
  async #mount({ digest }: ImageRecord, mount: (candidate: number) => Promise<ImageMount>): Promise<number> {
    const mounted = await mount(this.#loops.get(digest) ?? -1);
    this.#loops.set(digest, mounted.loopIndex);
    return mounted.mount;
  }
}

/** Closes what {@link ImageMounts.open} gave. */
export function letGo(image: number | ServedFile): void {
  if (typeof image === 'number') native.close(image);
  else image.release();
}

/** What a file that is mounted as it is would have in the store; its digest is that of its identity. */
function recordOfFile({ image, uid }: LaunchOrder, path: string): ImageRecord {
  const digest = `sha256:${createHash('sha256').update(image).digest('hex')}`;
  return { name: path, digest, size: 0, created: 0, source: path, owner: uid, format: 'squashfs' };
}
