import { connect } from 'node:net';
import type { WebSocket } from 'ws';
import type { Envelope, StreamEvent } from '../../events/index.js';
import { reasonOf } from '../../errors/index.js';
import { ANSWER_LIMIT, errorIn, saidNothing, unreachable } from './ask.js';

/** What berthd says first, and with every event. */
export type Message = Envelope & StreamEvent;

/** How the stream ended: berthd's code and reason (RFC 6455; 1006 for a connection that broke). */
export interface StreamEnd {
  readonly code: number;
  readonly reason: string;
}

/** What ws says then. */
const TIMED_OUT = 'Opening handshake has timed out';

/** Messages that wait to be looked at, before berthd is made to wait. */
const MOST_WAITING = 256;

/** Longest message that is taken, in bytes. */
const MOST_MESSAGE = 1024 * 1024;

/** The event stream of a node, message by message. */
export class EventStream {
  readonly #waiting: { readonly text: string; readonly message: Message }[] = [];
  #end: StreamEnd | undefined;
  #wake: () => void = () => undefined;

  private constructor(private readonly socket: WebSocket) {
    socket.on('message', (data: Buffer) => {
      const text = data.toString('utf8');
      const message = parse(text);
      if (!message) return;
      this.#waiting.push({ text, message });
      if (this.#waiting.length >= MOST_WAITING) socket.pause();
      this.#wake();
    });
    socket.once('close', (code, reason) => {
      this.#end = { code, reason: reason.toString('utf8') };
      this.#wake();
    });
    socket.on('error', () => undefined);
  }

  /**
   * @param since "now", "oldest" or a cursor.
   * @param limit milliseconds that berthd may take to answer.
   * @throws BerthError BERTH_DAEMON_UNREACHABLE; RemoteError what berthd says.
   */
  static async open(path: string, since: string, limit = ANSWER_LIMIT): Promise<EventStream> {
    const { WebSocket: Client } = await import('ws');
    const socket = new Client(`ws://localhost/v1/events?since=${encodeURIComponent(since)}`, 'berth.v1', {
      // A connection that is made here has to know the time limit too: it is what tells of it.
      createConnection: () => connect({ path, timeout: limit }),
      perMessageDeflate: false,
      maxPayload: MOST_MESSAGE,
      handshakeTimeout: limit,
    });
    // Made at once: what comes with the answer belongs to the stream.
    const stream = new EventStream(socket);
    await new Promise<void>((resolve, reject) => {
      socket.once('open', resolve);
      socket.once('error', (error) => {
        const late = error.message === TIMED_OUT;
        reject(unreachable(path, late ? saidNothing(limit) : reasonOf(error)));
      });
      socket.once('unexpected-response', (request, response) => {
        let body = '';
        response.setEncoding('utf8').on('data', (text: string) => (body += text));
        response.once('close', () => {
          reject(errorIn(body) ?? unreachable(path, `it answered with status ${response.statusCode ?? 0}`));
          request.destroy();
        });
      });
    });
    return stream;
  }

  /** The next message; how the stream ended, when there are no more. One caller at a time. */
  async next(): Promise<{ readonly text: string; readonly message: Message } | StreamEnd> {
    for (;;) {
      const found = this.#waiting.shift();
      if (found) {
        if (this.#waiting.length === 0 && this.socket.isPaused) this.socket.resume();
        return found;
      }
      if (this.#end) return this.#end;
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
  }

  close(): void {
    this.socket.terminate();
  }
}

/** Undefined for what is no event; of berthd's own, the version of which it says, more need not be checked. */
function parse(text: string): Message | undefined {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === 'object' && value !== null && 'type' in value && 'cursor' in value
      ? (value as Message)
      : undefined;
  } catch {
    return undefined;
  }
}
