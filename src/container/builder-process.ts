import { Socket } from 'node:net';
import { isNativeError, native, type Builder } from '../native/index.js';
import { FrameReader, v1 } from '../protocol/index.js';

/** Longest event of the builder, in bytes. */
const EVENT_LIMIT = 8 * 1024;

/**
 * When to look whether an ended builder can be reaped, in milliseconds from one look to the next; the last is for one
 * that a hanging file system keeps from dying.
 */
const REAP_DELAYS = [1, 5, 20, 100, 500, 2000, 60_000];

/** A builder that runs, or has ended and is not reaped yet: what it is told and what it says. */
export class BuilderProcess {
  readonly pid: number;
  readonly pidfd: number;
  readonly #process: Builder;
  readonly #socket: Socket;
  readonly #reader = new FrameReader(EVENT_LIMIT);
  readonly #events: v1.BuildEvent[] = [];
  #ended = false;
  #wake: (() => void) | undefined;

  private constructor(process: Builder) {
    this.#process = process;
    this.pid = process.pid;
    this.pidfd = process.pidfd;
    this.#socket = new Socket({ fd: process.socket, readable: true, writable: true });
    this.#socket
      .on('data', (chunk) => {
        this.#receive(chunk);
      })
      // Whoever waits for an event is told.
      .on('error', () => undefined)
      .on('close', () => {
        this.#ended = true;
        this.#wake?.();
      });
  }

  /**
   * @param executable the builder
   * @throws NativeError
   */
  static async start(executable: string): Promise<BuilderProcess> {
    return new BuilderProcess(await native.spawnBuilder(executable));
  }

  /** Is there still somebody at the other end? */
  get isThere(): boolean {
    return !this.#ended && !native.hasEnded(this.pidfd);
  }

  /**
   * Resolves when the socket has taken all of it; what is sent next may not come before that. To a builder that has
   * ended nothing is sent: what it said last tells why.
   *
   * @param descriptors come with the first of the bytes; they stay the caller's
   */
  async send(bytes: Uint8Array, descriptors: readonly number[] = []): Promise<void> {
    // Once Node has closed the socket, its number may be another's.
    if (this.#socket.destroyed) return;
    let sent: number;
    try {
      // Not by way of Node's stream, which takes ten times as long and knows no descriptors.
      sent = native.sendDescriptors(this.#process.socket, bytes, descriptors);
    } catch (error) {
      if (isNativeError(error, 'EPIPE')) return;
      throw error;
    }
    if (sent < bytes.length)
      await new Promise<void>((resolve) => this.#socket.write(bytes.subarray(sent), () => resolve()));
  }

  /** What it says next; undefined when it has ended. One waits for it at a time. */
  async next(): Promise<v1.BuildEvent | undefined> {
    if (this.#events.length === 0 && !this.#ended) await new Promise<void>((resolve) => (this.#wake = resolve));
    return this.#events.shift();
  }

  /** Lets go of it, once. What was not told that it may end is killed. */
  end(finished: boolean): void {
    if (!finished) native.signal(this.pidfd, 9);
    this.#socket.destroy();
    void this.#reap();
  }

  #receive(chunk: Buffer): void {
    try {
      for (const bytes of this.#reader.push(chunk)) this.#events.push(v1.BuildEvent.decode(bytes));
    } catch {
      // No builder of this version: it is as good as gone.
      this.#socket.destroy();
    }
    this.#wake?.();
  }

  /** Takes the ended child off the process table. It ends by itself: our end of its socket is closed. */
  async #reap(): Promise<void> {
    for (let look = 0; !native.reap(this.pidfd); look++) {
      const delay = REAP_DELAYS[Math.min(look, REAP_DELAYS.length - 1)] ?? 0;
      await new Promise((resolve) => setTimeout(resolve, delay).unref());
      if (delay >= 100) native.signal(this.pidfd, 9);
    }
    native.close(this.pidfd);
  }
}
