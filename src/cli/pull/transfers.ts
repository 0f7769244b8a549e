import { closeSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Connection } from '../client.js';
import { isPassing, sentence } from './explain.js';
import type { Blob } from './manifest.js';
import type { Progress } from './progress.js';
import type { BlobStream, ImageProxy } from './proxy.js';
import type { RemoteImage } from './remote.js';

/** How long to wait before a blob is asked for again, in seconds; then it is given up. */
const RETRY_PAUSES = [1, 3, 9] as const;
/** A blob smaller than this, in bytes, is not worth a skopeo of its own. */
const SMALL = 4 * 1024 * 1024;

/** The blobs of one pull on their way from the registry to berthd, several at a time. They never come through here. */
export class Transfers {
  /** Rejects when a blob cannot be had; never resolves. */
  readonly failed: Promise<never>;
  #fail: (error: unknown) => void = () => undefined;
  readonly #abort = new AbortController();
  readonly #queue: Blob[] = [];
  readonly #workers = new Set<Promise<void>>();
  readonly #streams = new Map<string, BlobStream>();
  /** Ends of pipes that berthd may not have taken yet, by blob. */
  readonly #readEnds = new Map<string, number[]>();

  constructor(
    private readonly remote: RemoteImage,
    private readonly connection: Connection,
    private readonly progress: Progress,
  ) {
    this.failed = new Promise<never>((_, reject) => {
      this.#fail = reject;
    });
    this.failed.catch(() => undefined);
  }

  /** Fetches these too. */
  add(blobs: readonly Blob[]): void {
    // The largest first: it is the last to be converted, whatever comes beside it.
    this.#queue.push(...blobs.toSorted((a, b) => b.size - a.size));
    const large = this.#queue.filter(({ size }) => size >= SMALL).length;
    const wanted = Math.min(this.remote.streams, Math.max(1, large));
    while (this.#workers.size < wanted) {
      const worker: Promise<void> = this.#work()
        .catch((error: unknown) => {
          this.#fail(error);
        })
        .finally(() => this.#workers.delete(worker));
      this.#workers.add(worker);
    }
  }

  /** Tells the progress how far each blob is. */
  readonly sample = (): void => {
    for (const [digest, stream] of this.#streams) this.progress.received(digest, stream.bytes());
  };

  /** berthd has stored it: what it was handed is not needed here any more. */
  stored(digest: string): void {
    this.#readEnds.get(digest)?.forEach((fd) => {
      closeSync(fd);
    });
    this.#readEnds.delete(digest);
  }

  /** Ends everything that is under way, and waits until nothing of it is left. */
  async stop(): Promise<void> {
    this.#queue.length = 0;
    this.#abort.abort();
    await Promise.all(this.#workers);
    for (const digest of [...this.#readEnds.keys()]) this.stored(digest);
  }

  async #work(): Promise<void> {
    let proxy: ImageProxy | undefined;
    try {
      for (let blob = this.#queue.shift(); blob; blob = this.#queue.shift()) {
        proxy = await this.#fetch(blob, proxy);
      }
    } finally {
      await proxy?.close();
    }
  }

  /** Fetches one blob, again where the registry dies on the way. Returns the proxy for the next. */
  async #fetch(blob: Blob, first: ImageProxy | undefined): Promise<ImageProxy> {
    const { signal } = this.#abort;
    let proxy = first;
    for (let attempt = 0; ; attempt++) {
      try {
        proxy ??= await this.remote.open(signal);
        await this.#send(blob, proxy);
        return proxy;
      } catch (error) {
        await proxy?.close();
        proxy = undefined;
        signal.throwIfAborted();
        const pause = RETRY_PAUSES[attempt];
        if (pause === undefined || !isPassing(error)) throw this.remote.explain(error);
        this.progress.again(blob.digest, sentence(error instanceof Error ? error.message : String(error)), pause);
        await sleep(1000 * pause, undefined, { signal });
      }
    }
  }

  async #send(blob: Blob, proxy: ImageProxy): Promise<void> {
    const { digest } = blob;
    const stream = await proxy.stream(blob);
    this.#readEnds.set(digest, [...(this.#readEnds.get(digest) ?? []), stream.readEnd]);
    this.#streams.set(digest, stream);
    let failed = true;
    try {
      this.connection.send({ pullBlob: { digest, fd: stream.readEnd } });
      await stream.written;
      failed = false;
      this.progress.received(digest, blob.size);
    } finally {
      this.#streams.delete(digest);
      // Before the end can be seen: berthd is to know what it means.
      this.connection.send({ blobEnd: { digest, failed } });
      stream.close();
    }
  }
}
