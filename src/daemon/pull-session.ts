import { closeSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Config } from '../config/index.js';
import type { Registry } from '../container/index.js';
import { BerthError, toErrorMessage } from '../errors/index.js';
import {
  digestOf,
  DOCUMENT_LIMIT,
  findPulled,
  indexHas,
  isDigest,
  isMade,
  labelOf,
  Lease,
  ManifestFault,
  parseImportName,
  parseManifest,
  pinnedReference,
  Pull,
  readLease,
  type ImageRecord,
  type ImageStore,
  type Progress,
  type PullOrder,
} from '../image/index.js';
import { v1 } from '../protocol/index.js';
import { BlobIntake } from './blob-intake.js';
import type { Connection } from './connection.js';
import { imageMessage } from './image-message.js';
import { Patience } from './patience.js';
import type { Observer, PullAmount } from './observer.js';
import { onBehalf, userName } from './people.js';
import { PipeFault, readPipe, takePipe } from './pipes.js';
import type { RequestLog } from './report.js';
import type { Slots } from './slots.js';

/** How often, in milliseconds, a pull that waits for another looks how far that is. */
const POLL_INTERVAL = 1000;

const { Kind } = v1.PullEvent;

export interface PullParts {
  readonly config: Config;
  readonly registry: Registry;
  readonly store: ImageStore;
  readonly requests: RequestLog;
  readonly observer: Observer;
}

/** What a session has to know of the others. */
export interface Surroundings {
  /** The user's turns to have a document read. */
  readonly reading: Slots;
  /** @throws BerthError BERTH_NOT_PERMITTED when the user has too many pulls already. */
  readonly checkCount: () => void;
  /** Who pulls the image of this manifest in this process. */
  readonly holderOf: (manifest: string) => PullSession | undefined;
}

/** One client's pull, from its request to the image or an error. */
export class PullSession {
  readonly #gone = new AbortController();
  /** Aborted when it is over, for those who wait. */
  readonly #over = new AbortController();
  readonly #uid: number;
  /** Pipes of documents that nobody reads yet. */
  readonly #unread = new Set<number>();
  readonly #documents: { readonly manifest: number; readonly index: number | undefined };
  readonly #name: string;
  readonly #patience: Patience;
  #lease: Lease | undefined;
  #order: PullOrder | undefined;
  #pull: Pull | undefined;
  #intake: BlobIntake | undefined;
  #receives = false;
  #fetched: PullAmount = { received: 0, size: 0 };

  /**
   * @throws BerthError BERTH_NOT_PERMITTED, BERTH_PROTOCOL_FRAME, BERTH_IMAGE_NAME, BERTH_PULL_FAILED
   */
  constructor(
    private readonly parts: PullParts,
    private readonly connection: Connection,
    private readonly request: v1.PullRequest,
    private readonly surroundings: Surroundings,
  ) {
    this.#uid = onBehalf(connection.peer, request.uid);
    this.#patience = new Patience(this.#uid);
    this.#name = request.name === '' ? '' : parseImportName(request.name);
    if (!isDigest(request.manifest)) throw outOfStep('a pull has no usable digest of a manifest');
    if (request.index !== '' && !isDigest(request.index)) throw outOfStep('a pull has no usable digest of an index');
    this.#documents = this.#takeDocuments();
    void connection.closed.then(() => this.#gone.abort());
  }

  /** Does it receive blobs? */
  get receives(): boolean {
    return this.#receives;
  }

  holdsLeaseOf(manifest: string): boolean {
    return this.#lease !== undefined && this.request.manifest === manifest;
  }

  /**
   * @throws BerthError whatever keeps the image from being pulled.
   */
  async run(): Promise<void> {
    const watch = this.parts.observer.pullBegun(this.#uid, this.#label(), () => this.#amount());
    try {
      const record = await this.#obtain(await this.#readOrder());
      const { name, digest } = record;
      watch.done(digest);
      this.parts.requests.event(this.connection, { image: name, digest, manifest: record.manifest }, 'image pulled');
      await this.#tellDone(record);
    } catch (thrown) {
      const error = this.#gone.signal.aborted ? this.#failed('the client went away') : thrown;
      watch.failed(toErrorMessage(error));
      throw error;
    } finally {
      this.#closeUnread();
      this.#over.abort();
    }
  }

  blob(message: v1.PullBlob): void {
    if (this.#intake) this.#intake.begin(message.digest, () => takePipe(this.connection, message.fd));
    else throw outOfStep('a blob was sent before any was wanted');
  }

  blobEnd(message: v1.BlobEnd): void {
    if (this.#intake) this.#intake.end(message.digest, message.failed);
    else throw outOfStep('a blob was ended before any was wanted');
  }

  progress({ blobs }: v1.PullProgress): void {
    for (const { digest, received } of blobs) {
      if (/^\d{1,15}$/.test(received ?? '')) this.#intake?.claim(digest ?? '', Number(received));
    }
  }

  /** How far it is. */
  async report(): Promise<Progress> {
    return { blobs: this.#intake?.progress() ?? [], made: (await this.#pull?.made()) ?? 0 };
  }

  /** Bytes of what it fetches itself. */
  #amount(): PullAmount {
    if (!this.#intake) return this.#fetched;
    const blobs = this.#intake.progress();
    const sum = (of: 'received' | 'size'): number => blobs.reduce((total, blob) => total + blob[of], 0);
    this.#fetched = { received: sum('received'), size: sum('size') };
    return this.#fetched;
  }

  #takeDocuments(): { manifest: number; index: number | undefined } {
    const { manifestFd, index, indexFd } = this.request;
    try {
      const manifest = this.#takeDocument(manifestFd);
      // Without its content, what an index has is hearsay.
      const taken = index === '' || indexFd === 0 ? undefined : this.#takeDocument(indexFd);
      return { manifest, index: taken };
    } catch (error) {
      this.#closeUnread();
      throw error instanceof PipeFault ? this.#failed(error.message, error) : error;
    }
  }

  #takeDocument(fd: number): number {
    const pipe = takePipe(this.connection, fd);
    this.#unread.add(pipe);
    return pipe;
  }

  #closeUnread(): void {
    for (const pipe of this.#unread) closeSync(pipe);
    this.#unread.clear();
  }

  async #readOrder(): Promise<PullOrder> {
    const { manifest: digest, index, source, everyone } = this.request;
    const release = await this.surroundings.reading.take(this.#gone.signal);
    try {
      const manifest = parseManifest(await this.#read(this.#documents.manifest, digest, 'the manifest'));
      if (this.#documents.index !== undefined) {
        const bytes = await this.#read(this.#documents.index, index, 'the index');
        if (!indexHas(bytes, digest)) throw new ManifestFault('its index does not have its manifest');
      }
      const uid = this.#uid;
      const proved = this.#documents.index === undefined ? undefined : index;
      const scope = uid === 0 ? 'site' : uid;
      this.#order = { name: this.#name, scope, uid, source, digest, manifest, index: proved, everyone };
      return this.#order;
    } catch (error) {
      if (!(error instanceof ManifestFault)) throw error;
      throw new BerthError('BERTH_PULL_MANIFEST', { name: this.#label(), why: error.message }, { cause: error });
    } finally {
      release();
    }
  }

  async #read(pipe: number, digest: string, what: string): Promise<Buffer> {
    this.#unread.delete(pipe);
    try {
      const bytes = await readPipe(pipe, DOCUMENT_LIMIT, this.#gone.signal);
      const found = digestOf(bytes);
      if (found === digest) return bytes;
      const why = `${digest} was announced, what came is ${found}`;
      throw new BerthError('BERTH_PULL_DIGEST', { blob: what, name: this.#label(), why });
    } catch (error) {
      throw error instanceof PipeFault ? this.#failed(`${what} could not be read: ${error.message}`, error) : error;
    }
  }

  async #obtain(order: PullOrder): Promise<ImageRecord> {
    const { store } = this.parts;
    for (;;) {
      this.#gone.signal.throwIfAborted();
      const found = await findPulled(store.workshop, order);
      if (found) return found;
      // Where it is made already, this user only has to show that they may have it.
      const alone = (await isMade(store.workshop, order.digest)) || !(await this.#leaseOrWait(order));
      if (alone || this.#lease) return this.#receive(order);
    }
  }

  /** @returns false when whoever pulls the same is not worth waiting for. */
  async #leaseOrWait(order: PullOrder): Promise<boolean> {
    const { layout, self: owner } = this.parts.store.workshop;
    this.#lease = await Lease.take(layout, order.digest, { owner, uid: order.uid }, () => this.report());
    if (this.#lease) return true;
    const held = await readLease(layout, order.digest, owner);
    if (!held) return true;
    const who = `${await userName(held.uid)} on ${held.owner.host}`;
    this.#tell({ kind: Kind.KIND_WAITING, who });
    return this.#wait(order, held.uid);
  }

  async #wait({ digest }: PullOrder, uid: number): Promise<boolean> {
    const { layout, self } = this.parts.store.workshop;
    const holder = this.surroundings.holderOf(digest);
    const signals = [this.#gone.signal, ...(holder ? [holder.#over.signal] : [])];
    const until = AbortSignal.any(signals);
    let told = '[]';
    for (;;) {
      await sleep(POLL_INTERVAL, undefined, { signal: until }).catch(() => undefined);
      if (until.aborted) return true;
      const progress = holder ? await holder.report() : (await readLease(layout, digest, self))?.progress;
      if (!progress) return true;
      const text = JSON.stringify(progress.blobs);
      if (text !== told && !this.connection.congested)
        this.#tell({ kind: Kind.KIND_PROGRESS, blobs: blobMessages(progress) });
      told = text;
      if (this.#patience.isOver(progress.made, uid, performance.now())) return false;
    }
  }

  async #receive(order: PullOrder): Promise<ImageRecord> {
    try {
      this.surroundings.checkCount();
      // Counted from here on: others look while this one makes its directory.
      this.#receives = true;
      const pull = await Pull.begin(this.parts.store.workshop, order);
      this.#pull = pull;
      const wanted = await pull.wanted();
      this.#intake = new BlobIntake(order, pull, wanted, (digest) => this.#tellStored(digest));
      if (wanted.length > 0) {
        const blobs = wanted.map(({ digest, size }) => ({ digest, size: String(size), received: '0' }));
        this.#tell({ kind: Kind.KIND_WANTED, blobs });
        await this.#intake.complete(this.#gone.signal);
      }
      this.#tell({ kind: Kind.KIND_CONVERTING });
      return await pull.finish(this.#gone.signal);
    } finally {
      this.#amount();
      await this.#intake?.stop();
      this.#intake = undefined;
      await this.#lease?.release();
      this.#lease = undefined;
      await this.#pull?.close();
      this.#pull = undefined;
      this.#receives = false;
    }
  }

  #tellStored(digest: string): void {
    const blobs = (this.#intake?.progress() ?? []).filter((blob) => blob.digest === digest);
    this.#tell({ kind: Kind.KIND_STORED, blobs: blobMessages({ blobs }) });
  }

  async #tellDone(record: ImageRecord): Promise<void> {
    const image = await imageMessage(record, this.parts);
    this.#tell({ kind: Kind.KIND_DONE, image, pinned: pinnedReference(record.name, record) });
  }

  #tell(pull: v1.PullEvent.$Properties): void {
    if (!this.#gone.signal.aborted) this.connection.reply({ pull });
  }

  #label(): string {
    return labelOf({ name: this.#name, digest: this.request.manifest });
  }

  #failed(why: string, cause?: unknown): BerthError {
    return new BerthError('BERTH_PULL_FAILED', { name: this.#label(), why }, { cause });
  }
}

function blobMessages({ blobs }: Pick<Progress, 'blobs'>): v1.BlobProgress.$Properties[] {
  return blobs.map(({ digest, size, received, stored }) => ({
    digest,
    size: String(size),
    received: String(received),
    stored,
  }));
}

function outOfStep(why: string): BerthError {
  return new BerthError('BERTH_PROTOCOL_FRAME', { why });
}
