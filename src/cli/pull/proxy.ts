import { closeSync, constants, createReadStream, openSync, readFileSync } from 'node:fs';
import type { ChildProcess } from 'node:child_process';
import { isNativeError, native } from '../../native/index.js';
import type { Blob } from './manifest.js';
import { SkopeoError, startSkopeo, unusable, type Running } from './skopeo.js';

/** Where an image is. */
export interface ImagePlace {
  /** With its transport, e.g. "docker://docker.io/library/debian:12". */
  readonly reference: string;
  /** skopeo's options before its command's name, such as which image of an index it is to choose. */
  readonly globalOptions?: readonly string[];
  /** Those after it, such as which credentials it is to use. */
  readonly options?: readonly string[];
}

interface Answer {
  readonly value: unknown;
  readonly pipe: number;
  readonly descriptor: number | undefined;
}

/** A blob on its way: skopeo writes it into a pipe, and nobody else reads or writes it here. */
export interface BlobStream {
  /** The pipe's end to read from. The caller closes it. */
  readonly readEnd: number;
  /**
   * Resolves when skopeo has written the whole blob and found it to be what its digest says; rejects with a SkopeoError
   * otherwise. The reader sees no end before {@link close}.
   */
  readonly written: Promise<void>;
  /** How much of it has been written, in bytes, as far as the kernel tells. */
  readonly bytes: () => number;
  /** Lets the reader see the end. */
  readonly close: () => void;
}

/**
 * A skopeo that gives the blobs of one image, one after the other.
 *
 * It answers one request at a time, and tells that a registry has died only in answer to FinishPipe, for which it waits
 * until all of the blob has come. So each stream has a proxy of its own.
 */
export class ImageProxy {
  #closed = false;

  private constructor(
    private readonly running: Running,
    private readonly socket: number,
    private readonly image: number,
  ) {}

  /**
   * Starts skopeo and opens an image.
   *
   * @throws SkopeoError; BerthError BERTH_PULL_TOOL; the signal's reason
   */
  static async open(
    { reference, globalOptions = [], options = [] }: ImagePlace,
    signal: AbortSignal,
  ): Promise<ImageProxy> {
    const { ours, theirs } = native.packetPair();
    let running: Running | undefined;
    try {
      const argv = [...globalOptions, 'experimental-image-proxy', '--sockfd', '3', ...options];
      running = startWith(theirs, argv, signal);
      const { value: version } = await call(running, ours, 'Initialize');
      if (!String(version).startsWith('0.2.'))
        throw unusable(`its image proxy is of version ${String(version)}, not 0.2`);
      const { value: image } = await call(running, ours, 'OpenImage', reference);
      return new ImageProxy(running, ours, Number(image));
    } catch (error) {
      if (running) await end(running);
      closeSync(ours);
      signal.throwIfAborted();
      throw error;
    }
  }

  /** The manifest, in OCI's form: the registry's own bytes only where that is OCI's. */
  async manifest(): Promise<Buffer> {
    const answer = await this.#call('GetManifest', this.image);
    return this.#readAll(answer);
  }

  /** A small blob, whole. */
  async read({ digest, size }: Blob): Promise<Buffer> {
    const answer = await this.#call('GetBlob', this.image, digest, size);
    return this.#readAll(answer);
  }

  /** Begins to give a blob. One at a time. */
  async stream({ digest, size }: Blob): Promise<BlobStream> {
    const { descriptor, pipe } = withDescriptor(await this.#call('GetBlob', this.image, digest, size));
    // The other end of the same pipe, so that the reader does not take a registry's death for the blob's end.
    const writeEnd = openSync(`/proc/self/fd/${descriptor}`, constants.O_WRONLY);
    const before = writtenBy(this.running.child);
    const written = this.#call('FinishPipe', pipe).then(() => undefined);
    written.catch(() => undefined);
    let open = true;
    return {
      readEnd: descriptor,
      written,
      bytes: () => Math.min(size, Math.max(0, writtenBy(this.running.child) - before)),
      close: () => {
        if (open) closeSync(writeEnd);
        open = false;
      },
    };
  }

  /** Ends skopeo, whatever it is doing. Once is enough. */
  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    await end(this.running);
    closeSync(this.socket);
  }

  #call(method: string, ...args: readonly (string | number)[]): Promise<Answer> {
    return call(this.running, this.socket, method, ...args);
  }

  async #readAll(answer: Answer): Promise<Buffer> {
    const { descriptor, pipe } = withDescriptor(answer);
    const finished = this.#call('FinishPipe', pipe);
    finished.catch(() => undefined);
    const chunks: Buffer[] = [];
    for await (const chunk of createReadStream('', { fd: descriptor }) as AsyncIterable<Buffer>) chunks.push(chunk);
    await finished;
    return Buffer.concat(chunks);
  }
}

/** Starts skopeo with a socket as its descriptor 3, which is closed here. */
function startWith(socket: number, argv: readonly string[], signal: AbortSignal): Running {
  try {
    return startSkopeo(argv, ['ignore', 'ignore', 'pipe', socket], signal);
  } finally {
    closeSync(socket);
  }
}

/** One request and its answer. */
async function call(
  running: Running,
  socket: number,
  method: string,
  ...args: readonly (string | number)[]
): Promise<Answer> {
  const { text, descriptors } = await exchange(socket, JSON.stringify({ method, args }));
  if (text === '') throw await lost(running);
  const [descriptor, ...surplus] = descriptors;
  surplus.forEach((fd) => native.close(fd));
  const { success, value, pipeid, error } = JSON.parse(text) as Readonly<Record<string, unknown>>;
  if (success === true) return { value, pipe: Number(pipeid), descriptor };
  if (descriptor !== undefined) native.close(descriptor);
  throw new SkopeoError(String(error));
}

/** An empty packet comes of a skopeo that has ended, whether it has read the request or not. */
async function exchange(socket: number, request: string): Promise<{ text: string; descriptors: number[] }> {
  try {
    native.sendPacket(socket, request);
    return await native.receivePacket(socket, 0);
  } catch (error) {
    if (isNativeError(error, 'EPIPE') || isNativeError(error, 'ECONNRESET')) return { text: '', descriptors: [] };
    throw error;
  }
}

function withDescriptor({ descriptor, pipe }: Answer): { descriptor: number; pipe: number } {
  if (descriptor === undefined) throw unusable('its image proxy gave no pipe for a blob');
  return { descriptor, pipe };
}

/** Why a proxy answers no more. */
async function lost(running: Running): Promise<Error> {
  const fault = (await running.ended) ?? 'skopeo ended';
  if (/unknown (?:command|flag|shorthand)/.test(fault)) return unusable('it is too old: it has no image proxy');
  return new SkopeoError(fault);
}

async function end({ child, ended }: Running): Promise<void> {
  child.kill('SIGKILL');
  await ended.catch(() => undefined);
}

/** How much a process has written in all, in bytes. What it writes besides a blob are requests of some hundred bytes. */
function writtenBy({ pid }: ChildProcess): number {
  try {
    return Number(/^wchar: (\d+)$/m.exec(readFileSync(`/proc/${String(pid)}/io`, 'utf8'))?.[1] ?? 0);
  } catch {
    // It has ended, or the kernel counts nothing: progress goes by whole blobs then.
    return 0;
  }
}
