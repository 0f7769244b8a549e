import { hostname } from 'node:os';
import type { Duplex } from 'node:stream';
import type { WebSocket } from 'ws';

import { envelope, Reader, type HelloEvent, type Journal, type Since, type Viewer } from '../../events/index.js';
import { version } from '../../protocol/index.js';
import { frameText, type SharedFrames } from './frames.js';

/** A reader that takes nothing for so long, in milliseconds, while there is more, is let go. */
const PATIENCE = 30_000;

/** RFC 6455: a message that was not allowed; and "try again later". */
const CLOSE_POLICY = 1008;
const CLOSE_TOO_SLOW = 1013;

/** One reader of the stream. What it has not taken stays in the journal: in its own memory is no more than a socket's buffer. */
export class Stream {
  readonly #journal: Journal;
  readonly #reader: Reader;
  readonly #serve = (): void => {
    this.#pump();
  };
  readonly #stopListening: () => void;
  #stuckSince: number | undefined;
  #timer: NodeJS.Timeout | undefined;
  #isOver = false;

  /**
   * @param below what the WebSocket writes to.
   * @param dropped told when the reader is let go for being slow.
   */
  constructor(
    journal: Journal,
    private readonly frames: SharedFrames,
    viewer: Viewer,
    since: Since,
    private readonly socket: WebSocket,
    private readonly below: Duplex,
    private readonly dropped: () => void,
  ) {
    this.#journal = journal;
    this.#reader = new Reader(journal, viewer, since);
    this.#stopListening = journal.listen(this.#serve);
    below.on('drain', () => {
      if (!this.#isOver) journal.rounds.add(this.#serve);
    });
    socket.on('close', () => {
      this.#end();
    });
    // What a client does wrong ends its connection, and concerns nobody else.
    socket.on('error', () => undefined);
    socket.on('message', () => {
      this.#close(CLOSE_POLICY, 'this stream takes no messages');
    });
    // Whoever asks for answers and does not read them would have them kept here.
    socket.on('ping', (data: Buffer) => {
      if (below.writableNeedDrain) socket.terminate();
      else socket.pong(data);
    });
    const hello: HelloEvent = {
      type: 'hello',
      node: hostname(),
      berthd: version,
      uid: viewer.uid,
      newest: journal.newest,
    };
    socket.send(JSON.stringify({ ...envelope(this.#reader.cursor), ...hello }));
    this.#pump();
  }

  #pump(): void {
    if (this.#isOver) return;
    if (this.#reader.isBehind) {
      this.#drop('events that were not read are forgotten');
      return;
    }
    const now = performance.now();
    if (this.below.writableNeedDrain) {
      this.#stuckSince ??= now;
      if (now - this.#stuckSince > PATIENCE) this.#drop(`nothing was read for ${PATIENCE / 1000} s`);
      return;
    }
    this.#stuckSince = undefined;
    // Past the WebSocket, which would make each message anew for each reader. Of itself it writes only pongs and its end.
    const bytes = this.#next(now);
    if (bytes) {
      const isFull = !this.below.write(bytes);
      // "drain" comes where enough waits to be read.
      if (!isFull && this.#reader.position !== this.#journal.ring.next) this.#journal.rounds.add(this.#serve);
      return;
    }
    this.#tellOthersLater(now);
  }

  /** What is to be written next; undefined when there is nothing. */
  #next(now: number): Buffer | undefined {
    const { position } = this.#reader;
    if (position === undefined) {
      const text = this.#reader.next(now);
      return text === undefined ? undefined : frameText(text);
    }
    const chunk = this.frames.from(position);
    if (chunk) this.#reader.goOnAt(chunk.next);
    return chunk?.bytes;
  }

  #tellOthersLater(now: number): void {
    const due = this.#reader.othersDue(now);
    if (due === undefined || this.#timer) return;
    this.#timer = setTimeout(() => {
      this.#timer = undefined;
      this.#pump();
    }, due + 1);
  }

  #drop(why: string): void {
    this.dropped();
    this.#close(CLOSE_TOO_SLOW, `too slow: ${why}; go on with since=${this.#reader.cursor}`);
  }

  #close(code: number, reason: string): void {
    this.#end();
    this.socket.close(code, reason);
  }

  #end(): void {
    this.#isOver = true;
    this.#stopListening();
    clearTimeout(this.#timer);
  }
}
