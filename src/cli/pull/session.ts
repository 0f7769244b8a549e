import { closeSync } from 'node:fs';
import { BerthError } from '../../errors/index.js';
import { v1 } from '../../protocol/index.js';
import { Connection } from '../client.js';
import { makePipe, type Pipe } from '../import/pipe.js';
import type { Blob } from './manifest.js';
import { showPlatform } from './platform.js';
import type { BlobState, Progress } from './progress.js';
import type { Content, RemoteImage } from './remote.js';
import { Transfers } from './transfers.js';

export interface Pulled {
  readonly image: v1.Image.$Properties;
  /** NAME@sha256:…, or the digest alone. */
  readonly pinned: string;
  /** What had to be fetched, in bytes. */
  readonly fetched: number;
}

/** How often berthd hears how far the pull is, in milliseconds: it tells those who wait for it. */
const REPORT_INTERVAL = 1000;

/**
 * Brings an image into berthd's store: says what is wanted, and fetches what berthd asks for.
 *
 * @param name what to call it; empty for no name, its digests alone.
 * @throws BerthError and RemoteError; the signal's reason
 */
export async function bring(
  remote: RemoteImage,
  name: string,
  socket: string,
  progress: Progress,
  signal: AbortSignal,
): Promise<Pulled> {
  const connection = await Connection.open(socket);
  const session = new Session(remote, connection, progress);
  const interrupted = new Promise<never>((_, reject) => {
    signal.addEventListener('abort', () => {
      reject(signal.reason as Error);
    });
  });
  interrupted.catch(() => undefined);
  try {
    signal.throwIfAborted();
    return await Promise.race([session.run(name), session.failed, interrupted]);
  } finally {
    // First of all: with the connection's end, berthd takes back what is not finished.
    connection.close();
    await session.close();
  }
}

class Session {
  readonly #transfers: Transfers;
  readonly #documents: Pipe[] = [];
  readonly #blobs: ReadonlyMap<string, Blob>;
  #report: NodeJS.Timeout | undefined;

  constructor(
    private readonly remote: RemoteImage,
    private readonly connection: Connection,
    private readonly progress: Progress,
  ) {
    this.#transfers = new Transfers(remote, connection, progress);
    this.#blobs = new Map([remote.config, ...remote.layers].map((blob) => [blob.digest, blob]));
  }

  get failed(): Promise<never> {
    return this.#transfers.failed;
  }

  async run(name: string): Promise<Pulled> {
    const { source, manifest, index, platform, everyone } = this.remote;
    this.connection.send({
      pull: {
        name,
        source,
        manifest: manifest.digest,
        manifestFd: this.#offer(manifest),
        ...(index ? { index: index.digest, indexFd: this.#offer(index) } : {}),
        platform: platform === undefined ? '' : showPlatform(platform),
        everyone,
      },
    });
    for (;;) {
      const { pull: event } = await this.connection.reply();
      if (!event) throw unexpected('an answer that is not about the pull');
      const done = this.#take(event);
      if (done) return done;
    }
  }

  async close(): Promise<void> {
    clearInterval(this.#report);
    this.#withdrawDocuments();
    await this.#transfers.stop();
  }

  #take({ kind, blobs, who, image, pinned }: v1.PullEvent.$Properties): Pulled | undefined {
    switch (kind) {
      case v1.PullEvent.Kind.KIND_WAITING:
        this.progress.waiting(who ?? 'somebody');
        return undefined;
      case v1.PullEvent.Kind.KIND_PROGRESS:
        this.progress.others((blobs ?? []).map(blobState));
        return undefined;
      case v1.PullEvent.Kind.KIND_WANTED:
        this.#withdrawDocuments();
        this.#fetch((blobs ?? []).map(({ digest }) => this.#known(digest ?? '')));
        return undefined;
      case v1.PullEvent.Kind.KIND_STORED:
        for (const { digest } of blobs ?? []) {
          this.#transfers.stored(digest ?? '');
          this.progress.stored(digest ?? '');
        }
        return undefined;
      case v1.PullEvent.Kind.KIND_CONVERTING:
        clearInterval(this.#report);
        this.progress.converting();
        return undefined;
      case v1.PullEvent.Kind.KIND_DONE:
        return { image: image ?? {}, pinned: pinned ?? '', fetched: this.progress.fetched };
      default:
        throw unexpected(`an event of an unknown kind, ${String(kind)}`);
    }
  }

  /** A pipe that brings a small document; returns its end to read from. */
  #offer({ bytes }: Content): number {
    const pipe = makePipe();
    this.#documents.push(pipe);
    // Whoever does not read it to its end says why itself.
    pipe.writeEnd.on('error', () => undefined);
    // A pipe has no half that could be ended: its reader sees the end when it is closed.
    pipe.writeEnd.end(bytes, () => pipe.writeEnd.destroy());
    return pipe.readEnd;
  }

  #withdrawDocuments(): void {
    for (const { readEnd, writeEnd } of this.#documents.splice(0)) {
      writeEnd.destroy();
      closeSync(readEnd);
    }
  }

  #fetch(blobs: readonly Blob[]): void {
    this.progress.fetching(blobs, this.#transfers.sample);
    this.#transfers.add(blobs);
    this.#report ??= setInterval(() => {
      this.#transfers.sample();
      this.connection.send({ pullProgress: { blobs: this.progress.blobs.map(blobMessage) } });
    }, REPORT_INTERVAL);
  }

  #known(digest: string): Blob {
    const blob = this.#blobs.get(digest);
    if (!blob) throw unexpected(`a wish for ${digest}, which is no part of the image`);
    return blob;
  }
}

function blobState({ digest, size, received, stored }: v1.BlobProgress.$Properties): BlobState {
  return {
    digest: digest ?? '',
    size: Number(size ?? 0),
    received: Number(received ?? 0),
    stored: stored ?? false,
  };
}

function blobMessage({ digest, size, received, stored }: BlobState): v1.BlobProgress.$Properties {
  return { digest, size: String(size), received: String(received), stored };
}

function unexpected(what: string): BerthError {
  return new BerthError('BERTH_PROTOCOL_FRAME', { why: `berthd sent ${what}` });
}
