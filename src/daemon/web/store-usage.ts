import { readdir, stat, statfs } from 'node:fs/promises';
import { join } from 'node:path';
import type { Family } from '../../events/index.js';

/** How old, in milliseconds, what is known of the file system and of the images may be: many nodes may share a store. */
const SPACE_AGE = 10_000;
const IMAGES_AGE = 600_000;

/** How long, in milliseconds, a scrape waits for a store that may not answer. */
const PATIENCE = 1_000;

/** A value that is found out when somebody asks, by one at a time, and kept for a while. */
class Kept<T> {
  #value: T | undefined;
  #found = Number.NEGATIVE_INFINITY;
  #finding: Promise<void> | undefined;

  constructor(
    private readonly find: () => Promise<T>,
    private readonly age: number,
  ) {}

  /** The value, perhaps an old one, where a new one takes too long; undefined when there never was one. */
  async get(): Promise<{ readonly value: T | undefined; readonly isOld: boolean }> {
    if (performance.now() - this.#found > this.age) {
      this.#finding ??= this.#find().finally(() => (this.#finding = undefined));
      await settledIn(this.#finding, PATIENCE);
    }
    return { value: this.#value, isOld: performance.now() - this.#found > this.age };
  }

  async #find(): Promise<void> {
    try {
      this.#value = await this.find();
      this.#found = performance.now();
    } catch {
      // The last value stays, and is told to be old.
    }
  }
}

/** How much is in the image store, without walking through it each time. */
export class StoreUsage {
  readonly #space: Kept<Space>;
  readonly #images: Kept<Images>;

  /**
   * @param path of the store
   * @param images its directory of images
   */
  constructor(path: string, images: string) {
    this.#space = new Kept(() => spaceOf(path), SPACE_AGE);
    this.#images = new Kept(() => imagesIn(images), IMAGES_AGE);
  }

  async families(): Promise<Family[]> {
    const [space, images] = await Promise.all([this.#space.get(), this.#images.get()]);
    const gauge = (name: string, help: string, value: number | undefined): Family => {
      return { name, help, type: 'gauge', samples: value === undefined ? [] : [{ value }] };
    };
    const answers = space.isOld || images.isOld ? 0 : 1;
    return [
      gauge(
        'berth_store_answers',
        'Whether the image store answered in time; if not, its other values are old.',
        answers,
      ),
      gauge('berth_store_size_bytes', "Size of the store's file system.", space.value?.size),
      gauge('berth_store_free_bytes', 'What is free of it.', space.value?.free),
      gauge('berth_store_free_inodes', 'Inodes that are free.', space.value?.inodes),
      gauge('berth_store_images', 'Images in the store, up to ten minutes ago.', images.value?.count),
      gauge('berth_store_image_bytes', 'Bytes of their files.', images.value?.bytes),
    ];
  }
}

interface Space {
  readonly size: number;
  readonly free: number;
  readonly inodes: number;
}

async function spaceOf(path: string): Promise<Space> {
  const { bsize, blocks, bavail, ffree } = await statfs(path);
  return { size: bsize * blocks, free: bsize * bavail, inodes: ffree };
}

interface Images {
  readonly count: number;
  readonly bytes: number;
}

/** One file after the other: it holds up one thread, however slow the store is. */
async function imagesIn(directory: string): Promise<Images> {
  const names = (await readdir(directory)).filter((name) => name.endsWith('.squashfs'));
  let count = 0;
  let bytes = 0;
  for (const name of names) {
    const found = await stat(join(directory, name)).catch(() => undefined);
    if (!found) continue;
    count++;
    bytes += found.size;
  }
  return { count, bytes };
}

async function settledIn(work: Promise<void>, milliseconds: number): Promise<void> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<void>((resolve) => (timer = setTimeout(resolve, milliseconds)));
  await Promise.race([work, late]);
  clearTimeout(timer);
}
