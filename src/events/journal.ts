import { randomBytes } from 'node:crypto';
import { writeCursor } from './cursor.js';
import { EVENTS_VERSION, ownerOf, type Envelope, type NodeEvent } from './event.js';
import { Ring } from './ring.js';
import { Rounds } from './rounds.js';

/** What is kept for those who come later, or come back. A launch takes some 700 bytes. */
const MOST_EVENTS = 2048;
const MOST_BYTES = 1024 * 1024;

/** Readers are told at most this often, in milliseconds: a burst of launches is one message to each, not a thousand. */
const TELLING_INTERVAL = 100;

/** The node's events, numbered, and those who want to hear of new ones. Without readers nothing is done later. */
export class Journal {
  readonly epoch = randomBytes(4).toString('hex');
  readonly ring: Ring;
  /** Where readers wait for their turn to be served. */
  readonly rounds = new Rounds();
  readonly #listeners = new Set<() => void>();
  #isTelling = false;
  #told = Number.NEGATIVE_INFINITY;

  constructor(mostEvents = MOST_EVENTS, mostBytes = MOST_BYTES) {
    this.ring = new Ring(mostEvents, mostBytes);
  }

  /** Does anybody listen? */
  get hasListeners(): boolean {
    return this.#listeners.size > 0;
  }

  /** The cursor of the newest event. */
  get newest(): string {
    return writeCursor({ epoch: this.epoch, sequence: this.ring.next - 1 });
  }

  /** @param time when it was, in seconds since the epoch; now by default. */
  append(event: NodeEvent, time?: number): void {
    const cursor = writeCursor({ epoch: this.epoch, sequence: this.ring.next });
    const text = JSON.stringify({ ...envelope(cursor, time), ...event });
    this.ring.append({ type: event.type, uid: ownerOf(event), text });
    if (this.#listeners.size > 0) this.#tellSoon();
  }

  /**
   * Has `listener` called after new events, soon.
   *
   * @returns ends that.
   */
  listen(listener: () => void): () => void {
    this.#listeners.add(listener);
    return () => {
      this.#listeners.delete(listener);
      this.rounds.remove(listener);
    };
  }

  #tellSoon(): void {
    if (this.#isTelling) return;
    this.#isTelling = true;
    const wait = Math.max(0, this.#told + TELLING_INTERVAL - performance.now());
    setTimeout(() => {
      this.#told = performance.now();
      this.#isTelling = false;
      for (const listener of this.#listeners) this.rounds.add(listener);
    }, wait);
  }
}

export function envelope(cursor: string, time = Date.now() / 1000): Envelope {
  return { v: EVENTS_VERSION, cursor, time };
}
