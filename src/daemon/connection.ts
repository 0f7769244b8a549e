import type { Socket } from 'node:net';
import { BerthError, toErrorMessage, type ErrorMessage } from '../errors/index.js';
import { native, type PeerCredentials } from '../native/index.js';
import {
  decodeRequest,
  encodeError,
  encodeReply,
  frame,
  FrameReader,
  REQUEST_LIMIT,
  type v1,
} from '../protocol/index.js';

/** What HTTP's methods begin with, "A" to "Z": frames are too short for their length to begin so. */
const FIRST_OF_HTTP = 0x41;
const LAST_OF_HTTP = 0x5a;

/** A plain user's connection that asks nothing is closed after this many milliseconds. */
const SILENCE_LIMIT = 10_000;

type ReplyBody = Parameters<typeof encodeReply>[0];

/** Answers the requests of one connection, one after the other. */
export type Handler = (request: v1.Request, connection: Connection) => Promise<void>;

/** Takes over a connection whose client speaks HTTP; what it has said is still to be read, and it is paused. */
export type TakeOver = (socket: Socket, peer: PeerCredentials) => void;

/** What a failure was about, for the log. */
export type Report = (error: ErrorMessage, connection: Connection, request: v1.Request | undefined) => void;

/** One client. Knows who it is and speaks frames; what is asked is the handler's business. */
export class Connection {
  readonly peer: PeerCredentials;
  readonly #fd: number;
  readonly #reader = new FrameReader(REQUEST_LIMIT);
  readonly #closed: Promise<void>;
  #busy: Promise<void> = Promise.resolve();

  constructor(
    private readonly socket: Socket,
    private readonly handle: Handler,
    private readonly report: Report,
    takeOver: TakeOver,
  ) {
    this.#fd = descriptorOf(socket);
    this.peer = native.peerCredentials(this.#fd);
    this.#closed = new Promise((resolve) =>
      socket.once('close', () => {
        resolve();
      }),
    );
    // Not while a request is being answered: what is built for it holds on to this descriptor by its number.
    void this.#closed
      .then(() => this.#busy)
      .then(() => {
        native.close(this.peer.pidfd);
      });
    // A client that resets the connection is no event of ours.
    socket.on('error', () => undefined);
    socket.once('data', (first: Buffer) => {
      const [byte = 0] = first;
      if (byte >= FIRST_OF_HTTP && byte <= LAST_OF_HTTP) {
        this.stayOpen();
        socket.pause();
        socket.unshift(first);
        takeOver(socket, this.peer);
        return;
      }
      const receive = (chunk: Buffer): void => {
        this.#busy = this.#receive(chunk);
      };
      socket.on('data', receive);
      receive(first);
    });
    if (this.peer.uid !== 0) socket.setTimeout(SILENCE_LIMIT, () => socket.destroy());
  }

  /** Settles when the client is gone. */
  get closed(): Promise<void> {
    return this.#closed;
  }

  /** The supplementary groups that the client had when it connected. */
  peerGroups(): number[] {
    return native.peerGroups(this.#fd);
  }

  /** Does the client read too slowly for what it is told? */
  get congested(): boolean {
    return this.socket.writableNeedDrain;
  }

  /** A request that takes its time keeps its connection. */
  stayOpen(): void {
    this.socket.setTimeout(0);
  }

  reply(body: ReplyBody): void {
    this.socket.write(frame(encodeReply(body)));
  }

  refuse(error: ErrorMessage): void {
    if (!this.socket.destroyed) this.socket.write(frame(encodeError(error)));
  }

  /**
   * Sends a framed reply with descriptors. A client whose socket is full does not read what it asked for and is let go,
   * rather than waited for.
   */
  replyWithDescriptors(framed: Buffer, descriptors: readonly number[]): void {
    if (this.socket.destroyed) return;
    if (this.socket.writableLength > 0) {
      this.socket.destroy();
      return;
    }
    const sent = native.sendDescriptors(this.#fd, framed, descriptors);
    if (sent === 0) this.socket.destroy();
    else if (sent < framed.length) this.socket.write(framed.subarray(sent));
  }

  /** Work that does not hold up the connection's next request. Its failure is the client's to know. */
  run(work: () => Promise<void>): void {
    work().catch((error: unknown) => {
      this.#fail(error, undefined);
    });
  }

  /**
   * Nothing more is read until all that came is answered and the answers have left: requests and replies wait in the
   * kernel's buffers, which have an end, and not in the daemon's memory.
   */
  async #receive(chunk: Buffer): Promise<void> {
    this.socket.pause();
    try {
      for (const bytes of this.#reader.push(chunk)) {
        await this.#answer(bytes);
        await this.#sent();
      }
    } catch (error) {
      this.#fail(error, undefined);
      await this.#sent();
    }
    this.socket.resume();
  }

  /** Settles when few answers wait for the client to read them (Node's high-water mark), or the client is gone. */
  async #sent(): Promise<void> {
    // "drain" only comes after that mark was reached.
    if (this.socket.destroyed || !this.socket.writableNeedDrain) return;
    await Promise.race([this.#closed, new Promise<void>((resolve) => this.socket.once('drain', resolve))]);
  }

  async #answer(bytes: Buffer): Promise<void> {
    if (this.socket.destroyed) return;
    let request: v1.Request | undefined;
    try {
      request = decodeRequest(bytes);
      await this.handle(request, this);
    } catch (error) {
      this.#fail(error, request);
    }
  }

  #fail(error: unknown, request: v1.Request | undefined): void {
    const message = toErrorMessage(error);
    this.report(message, this, request);
    this.refuse(message);
    // Out of step, nothing that follows can be understood, and none of it is looked at.
    if (message.code === 'BERTH_PROTOCOL_FRAME' || message.code === 'BERTH_PROTOCOL_VERSION') this.socket.destroySoon();
  }
}

/** The descriptor below a net.Socket, which Node keeps to itself. */
function descriptorOf(socket: Socket): number {
  const handle: unknown = '_handle' in socket ? socket._handle : undefined;
  if (
    typeof handle === 'object' &&
    handle !== null &&
    'fd' in handle &&
    typeof handle.fd === 'number' &&
    handle.fd >= 0
  ) {
    return handle.fd;
  }
  throw new BerthError('BERTH_INTERNAL', { what: 'a connection', why: 'this Node does not tell its descriptor' });
}
