import { closeSync } from 'node:fs';
import { lstat, readdir, rm, stat, type FileHandle } from 'node:fs/promises';
import { join } from 'node:path';
import { BerthError, errorCode } from '../errors/index.js';
import { hasProved } from '../policy/index.js';
import { assembleImage, convertLayer, type Failed } from './converter.js';
import { conversionFailure } from './failures.js';
import {
  dropLayer,
  grantLayer,
  holdFresh,
  holdLayer,
  layerRecord,
  openHeldLayer,
  readLayer,
  storeLayer,
  type LayerRecord,
} from './layer-cache.js';
import type { Layout, Scope } from './layout.js';
import { grantManifest, readManifestRecord, recordUnder, type ManifestRecord } from './manifest-index.js';
import { ManifestFault, parseConfig, type Blob, type ImageConfig, type Manifest } from './manifest.js';
import { publishNames, readName } from './names.js';
import { createOutput, placeImage, sha256Of } from './place.js';
import { cutSource, type ImageRecord } from './record.js';
import { makeTemporary } from './temporary.js';
import type { Workshop } from './workshop.js';

/** What is pulled, for whom, and what it will be called. */
export interface PullOrder {
  /** With its tag; empty for an image that is only known by its digest. */
  readonly name: string;
  readonly scope: Scope;
  /** Who shows to have the blobs: 0 is root. */
  readonly uid: number;
  readonly source: string;
  /** Digest of the manifest, and what it says. */
  readonly digest: string;
  readonly manifest: Manifest;
  /** Digest of an index that has it. */
  readonly index?: string | undefined;
  /** It was read without credentials. */
  readonly everyone: boolean;
}

/** A blob that is not what it should be: it may have been cut short on its way, and can be sent again. */
export class BlobFault extends Error {
  constructor(readonly error: BerthError) {
    super(error.message);
  }
}

/** Processor time that hashing takes at worst, in bytes per second: a tenth of what present processors do. */
const HASH_SPEED = 50_000_000;

/**
 * An image that was made of the manifest, under a name that it gets now.
 *
 * @returns undefined when there is none, or the user has not shown that they may have it.
 */
export async function findPulled({ layout, self }: Workshop, order: PullOrder): Promise<ImageRecord | undefined> {
  const made = await readManifestRecord(layout, order.digest);
  if (!made || !hasProved(order.uid, made) || !(await isThere(layout, made))) return undefined;
  const temporary = await makeTemporary(layout.temporary, self);
  try {
    return await publish(layout, order, made, temporary);
  } finally {
    await rm(temporary, { recursive: true, force: true });
  }
}

/** Is the image of a manifest made, for somebody at least? */
export async function isMade({ layout }: Workshop, digest: string): Promise<boolean> {
  const made = await readManifestRecord(layout, digest);
  return made !== undefined && isThere(layout, made);
}

/**
 * One pull: takes the blobs that are wanted, and makes the image when all are there. What is stored of it stays when it
 * fails; {@link close} removes the rest.
 */
export class Pull {
  readonly #layers = new Map<string, LayerRecord>();
  /** Layers on their way into the cache. */
  readonly #storing: Promise<void>[] = [];
  #config: ImageConfig | undefined;
  /** What was made of the same manifest before. */
  #made: ManifestRecord | undefined;
  #attempts = 0;

  private constructor(
    private readonly workshop: Workshop,
    private readonly order: PullOrder,
    private readonly temporary: string,
  ) {}

  static async begin(workshop: Workshop, order: PullOrder): Promise<Pull> {
    return new Pull(workshop, order, await makeTemporary(workshop.layout.temporary, workshop.self));
  }

  /** The blobs that the user has to send: what is not there, and what they have not shown to have. */
  async wanted(): Promise<Blob[]> {
    const { layout } = this.workshop;
    const { uid, digest, manifest } = this.order;
    const made = await readManifestRecord(layout, digest);
    const wanted: Blob[] = [];
    if (made && hasProved(uid, made)) this.#made = made;
    else wanted.push(manifest.config);
    for (const blob of distinct(manifest.layers)) {
      const record = await readLayer(layout, blob.digest);
      const known = record && (this.#made ?? hasProved(uid, record)) ? record : undefined;
      if (known && (await holdLayer(layout, blob.digest, this.temporary))) this.#layers.set(blob.digest, known);
      else wanted.push(blob);
    }
    this.#checkSize();
    return wanted;
  }

  /** Takes the configuration, whose digest is known to be right. */
  takeConfig(bytes: Uint8Array): void {
    const { manifest } = this.order;
    try {
      this.#config = parseConfig(bytes, manifest.layers.length);
    } catch (error) {
      throw error instanceof ManifestFault ? this.#unfit(error.message) : error;
    }
  }

  /**
   * Reads a layer from a pipe: converts it, or, where that was done already, only looks whether it is what it should be.
   *
   * @param pipe closed in any case.
   * @throws BlobFault when it is not; BerthError BERTH_PULL_TOO_LARGE, BERTH_PULL_FAILED, BERTH_STORE_FULL,
   * BERTH_STORE_UNUSABLE
   */
  async takeLayer(blob: Blob, pipe: number, signal: AbortSignal): Promise<void> {
    const { layout } = this.workshop;
    try {
      const record = await readLayer(layout, blob.digest);
      const known = record !== undefined && (await holdLayer(layout, blob.digest, this.temporary));
      this.#layers.set(
        blob.digest,
        known ? await this.#prove(blob, record, pipe, signal) : await this.#convert(blob, pipe, signal),
      );
    } finally {
      closeSync(pipe);
    }
    this.#checkSize();
  }

  /**
   * Makes the image and gives it its name.
   *
   * @throws BerthError BERTH_PULL_DIGEST, BERTH_PULL_MANIFEST, BERTH_PULL_FAILED, BERTH_STORE_FULL, BERTH_STORE_UNUSABLE
   */
  async finish(signal: AbortSignal): Promise<ImageRecord> {
    const { layout } = this.workshop;
    const { uid, everyone } = this.order;
    this.#checkDiffIds();
    const made = await this.#image(signal);
    await Promise.all(this.#storing);
    signal.throwIfAborted();
    const blobs = [...this.#layers.keys()];
    for (const layer of blobs) await grantLayer(layout, layer, uid, everyone, this.temporary);
    return publish(layout, this.order, made, this.temporary);
  }

  /** Bytes that were made of it so far. */
  async made(): Promise<number> {
    const files = await readdir(this.temporary).catch(() => []);
    const sizes = files.map(async (file) => (await stat(join(this.temporary, file)).catch(() => ({ size: 0 }))).size);
    return (await Promise.all(sizes)).reduce((sum, size) => sum + size, 0);
  }

  async close(): Promise<void> {
    await Promise.allSettled(this.#storing);
    await rm(this.temporary, { recursive: true, force: true });
  }

  async #convert(blob: Blob, pipe: number, signal: AbortSignal): Promise<LayerRecord> {
    const { layout } = this.workshop;
    const path = join(this.temporary, `blob-${this.#attempts++}`);
    const file = await createOutput(path);
    const remove = async (): Promise<void> => {
      await file.close();
      await rm(path, { force: true });
    };
    try {
      const demands = { ...this.workshop, blobDigest: blob.digest, blobSize: blob.size };
      const conversion = await convertLayer(pipe, file.fd, demands, signal);
      signal.throwIfAborted();
      if (!conversion.ok) throw this.#layerFailure(blob, conversion);
      const { uid, everyone } = this.order;
      const record = layerRecord(conversion.made, { everyone, uids: [uid] });
      const place = { file, path, directory: this.temporary };
      const isHeld = await holdFresh(blob.digest, place);
      // The disk may take its time while other layers are converted, and the image is made.
      const storing = storeLayer(layout, blob.digest, place, record).finally(remove);
      storing.catch(() => undefined);
      this.#storing.push(storing);
      if (!isHeld) await storing;
      return record;
    } catch (error) {
      await remove();
      throw error;
    }
  }

  async #prove(blob: Blob, record: LayerRecord, pipe: number, signal: AbortSignal): Promise<LayerRecord> {
    const seconds = 10 + Math.ceil(blob.size / HASH_SPEED);
    const digest = await sha256Of(pipe, seconds, signal).catch((error: unknown) => {
      signal.throwIfAborted();
      throw new BlobFault(this.#failed(`a layer could not be read: ${String(error)}`));
    });
    if (digest !== blob.digest) throw new BlobFault(this.#wrongDigest(blob, `what came is ${digest}`));
    const { uid, everyone } = this.order;
    await grantLayer(this.workshop.layout, blob.digest, uid, everyone, this.temporary);
    return record;
  }

  #layerFailure(blob: Blob, failed: Failed): Error {
    const { blame, why } = failed;
    const store = conversionFailure(this.workshop.layout.root, failed);
    if (store) return store;
    if (blame === 'limit') return this.#tooLarge(why);
    if (blame === 'digest') return new BlobFault(this.#wrongDigest(blob, why));
    const error = this.#failed(`its layer ${blob.digest} could not be converted: ${why}`);
    return blame === 'archive' ? new BlobFault(error) : error;
  }

  /** The image file of the layers, in its place. */
  async #image(signal: AbortSignal): Promise<ManifestRecord> {
    const { layout } = this.workshop;
    const { manifest } = this.order;
    const path = join(this.temporary, 'image');
    const open: FileHandle[] = [];
    try {
      const file = await createOutput(path);
      open.push(file);
      for (const { digest } of manifest.layers) open.push(await openHeldLayer(layout, this.temporary, digest));
      const [, ...layers] = open.map(({ fd }) => fd);
      const conversion = await assembleImage(layers, file.fd, signal);
      signal.throwIfAborted();
      if (!conversion.ok) throw await this.#imageFailure(conversion);
      const fault = await placeImage(layout, file, path, conversion.made);
      if (fault !== undefined) throw this.#failed(`the image made of its layers is not usable: ${fault}`);
      return this.#record(
        conversion.made.digest,
        conversion.made.size,
        await readManifestRecord(layout, this.order.digest),
      );
    } finally {
      for (const file of open) await file.close();
    }
  }

  #record(image: string, size: number, before: ManifestRecord | undefined): ManifestRecord {
    const { manifest } = this.order;
    const { everyone = false, uids = [] } = before ?? {};
    const config = this.#config?.kept ?? this.#made?.config ?? {};
    const platform = this.#config?.platform ?? this.#made?.platform ?? '';
    const layers = manifest.layers.map(({ digest }) => digest);
    return { image, size, platform, layers, config, everyone, uids };
  }

  async #imageFailure(failed: Failed): Promise<BerthError> {
    const { layout } = this.workshop;
    const store = conversionFailure(layout.root, failed);
    if (store) return store;
    // Which one it was is not known; the next pull brings all of them anew.
    if (failed.blame === 'layer') for (const digest of this.#layers.keys()) await dropLayer(layout, digest);
    if (failed.blame === 'limit') return this.#tooLarge(failed.why);
    return this.#failed(`its layers could not be put together: ${failed.why}`);
  }

  /** The configuration says what is in the layers' archives; the image is what it promises. */
  #checkDiffIds(): void {
    if (!this.#config) return;
    this.#config.diffIds.forEach((expected, at) => {
      const blob = this.order.manifest.layers[at];
      const found = blob && this.#layers.get(blob.digest)?.diffId;
      if (!blob || found === expected) return;
      throw this.#wrongDigest(
        blob,
        `the archive in it is ${found ?? 'missing'}, where the configuration has ${expected}`,
      );
    });
  }

  #checkSize(): void {
    const { mostBytes = Infinity, mostEntries = Infinity } = this.workshop;
    const records = this.order.manifest.layers
      .map(({ digest }) => this.#layers.get(digest))
      .filter((one) => one !== undefined);
    const bytes = records.reduce((sum, { unpacked }) => sum + unpacked, 0);
    const entries = records.reduce((sum, record) => sum + record.entries, 0);
    if (bytes > mostBytes) throw this.#tooLarge(`its layers have ${bytes} bytes of files, more than ${mostBytes}`);
    if (entries > mostEntries) throw this.#tooLarge(`its layers have ${entries} entries, more than ${mostEntries}`);
  }

  #wrongDigest({ digest }: Blob, why: string): BerthError {
    return new BerthError('BERTH_PULL_DIGEST', { blob: `the blob ${digest}`, name: labelOf(this.order), why });
  }

  #unfit(why: string): BerthError {
    return new BerthError('BERTH_PULL_MANIFEST', { name: labelOf(this.order), why });
  }

  #tooLarge(why: string): BerthError {
    return new BerthError('BERTH_PULL_TOO_LARGE', { name: labelOf(this.order), why });
  }

  #failed(why: string): BerthError {
    return new BerthError('BERTH_PULL_FAILED', { name: labelOf(this.order), why });
  }
}

/** What errors call the image. */
export function labelOf({ name, digest }: Pick<PullOrder, 'name' | 'digest'>): string {
  return name === '' ? digest : name;
}

async function publish(
  layout: Layout,
  order: PullOrder,
  made: ManifestRecord,
  temporary: string,
): Promise<ImageRecord> {
  const { digest, scope, index, uid, everyone } = order;
  const name = { name: labelOf(order), source: cutSource(order.source), owner: scope, index };
  const record = recordUnder(name, digest, made);
  const present = await readName(layout, scope, record.name).catch(() => undefined);
  await grantManifest(layout, digest, made, uid, everyone, temporary);
  const same = present?.digest === record.digest && present.manifest === digest && present.index === index;
  if (same) return present;
  return publishNames(layout, scope, record, temporary);
}

async function isThere(layout: Layout, { image, size }: ManifestRecord): Promise<boolean> {
  try {
    const file = await lstat(layout.image(image));
    return file.isFile() && file.size === size;
  } catch (error) {
    if (errorCode(error) === 'ENOENT') return false;
    throw error;
  }
}

function distinct(blobs: readonly Blob[]): Blob[] {
  return [...new Map(blobs.map((blob) => [blob.digest, blob])).values()];
}
