import type { Duplex } from 'node:stream';
import type { WebSocket } from 'ws';
import { BerthError } from '../../errors/index.js';
import type { Journal, Since, Viewer } from '../../events/index.js';
import { SharedFrames } from './frames.js';
import { Stream } from './stream.js';

/** Readers of the stream at a time, and those of one plain user: each takes some 30 KiB, and a socket's buffer if it is slow. */
const MOST = 2048;
const MOST_PER_USER = 16;

/** Who reads the stream. */
export class Readers {
  readonly #perUser = new Map<number, number>();
  readonly #frames: SharedFrames;
  #count = 0;

  constructor(
    private readonly journal: Journal,
    /** One was let go for being slow. */
    private readonly dropped: () => void,
    /** One is gone, and what was kept for it is nobody's. */
    private readonly left: () => void,
  ) {
    this.#frames = new SharedFrames(journal);
  }

  get count(): number {
    return this.#count;
  }

  /** @throws BerthError BERTH_NOT_PERMITTED when there is no room for one more. */
  check({ uid }: Viewer): void {
    const isOwn = uid !== 0 && (this.#perUser.get(uid) ?? 0) >= MOST_PER_USER;
    if (!isOwn && this.#count < MOST) return;
    throw new BerthError('BERTH_NOT_PERMITTED', {
      what: `more than ${isOwn ? MOST_PER_USER : MOST} readers of the event stream at a time`,
      uid,
      why: 'each takes memory of this node',
      hint: isOwn ? 'end those that you have on this node' : 'try again later',
    });
  }

  /** @param below what the WebSocket writes to. */
  add(viewer: Viewer, since: Since, socket: WebSocket, below: Duplex): void {
    const { uid } = viewer;
    this.#count++;
    this.#perUser.set(uid, (this.#perUser.get(uid) ?? 0) + 1);
    socket.once('close', () => {
      this.#count--;
      const left = (this.#perUser.get(uid) ?? 1) - 1;
      if (left > 0) this.#perUser.set(uid, left);
      else this.#perUser.delete(uid);
      this.left();
    });
    new Stream(this.journal, this.#frames, viewer, since, socket, below, this.dropped);
  }
}
