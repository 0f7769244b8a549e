import { readCursor, writeCursor } from './cursor.js';
import type { GapEvent, NodeEvent, OthersEvent } from './event.js';
import { envelope, type Journal } from './journal.js';
import type { Entry } from './ring.js';

/** Who reads. Root sees everything. */
export interface Viewer {
  readonly uid: number;
}

/** May this viewer know more of an event than that it happened? */
export function sees(viewer: Viewer, { uid }: Pick<Entry, 'uid'>): boolean {
  return viewer.uid === 0 || uid === undefined || uid === viewer.uid;
}

/** Where a reader begins: with what comes, with the oldest that is kept, or after a place it has been at. */
export type Since = 'now' | 'oldest' | { readonly cursor: string };

/** What others do is told at most this often, in milliseconds: as a sum, which says little about any of them. */
export const OTHERS_INTERVAL = 1000;

/** One reader's way through the journal. It has no memory but a number and a few counts. */
export class Reader {
  #position: number;
  #gap: GapEvent | undefined;
  #others: Partial<Record<NodeEvent['type'], number>> | undefined;
  #othersTold = Number.NEGATIVE_INFINITY;

  constructor(
    private readonly journal: Journal,
    private readonly viewer: Viewer,
    since: Since,
  ) {
    this.#position = this.#begin(since);
  }

  /** Where this reader is. */
  get cursor(): string {
    return writeCursor({ epoch: this.journal.epoch, sequence: this.#position - 1 });
  }

  /** Has it been so slow that events it has not had are forgotten? */
  get isBehind(): boolean {
    return this.#gap === undefined && this.#position < this.journal.ring.first;
  }

  /** Where it is, for one who is told everything as it is kept: what is made for one such reader is good for all. */
  get position(): number | undefined {
    return this.viewer.uid === 0 && this.#gap === undefined ? this.#position : undefined;
  }

  /** It has been told everything before this place. */
  goOnAt(position: number): void {
    this.#position = position;
  }

  /** In how many milliseconds it may be told what others have done; undefined when they have done nothing. */
  othersDue(now: number): number | undefined {
    return this.#others && Math.max(0, this.#othersTold + OTHERS_INTERVAL - now);
  }

  /**
   * The next message, JSON; undefined when there is none now.
   *
   * @param now milliseconds of a clock that only goes forward.
   */
  next(now: number): string | undefined {
    if (this.#gap) return this.#tellGap(this.#gap);
    const { ring } = this.journal;
    for (let entry = ring.at(this.#position); entry; entry = ring.at(this.#position)) {
      if (sees(this.viewer, entry)) {
        if (this.#others) return this.#tellOthers(this.#others, now);
        this.#position++;
        return entry.text;
      }
      this.#others = { ...this.#others, [entry.type]: (this.#others?.[entry.type] ?? 0) + 1 };
      this.#position++;
    }
    return this.#others && this.othersDue(now) === 0 ? this.#tellOthers(this.#others, now) : undefined;
  }

  #begin(since: Since): number {
    const { epoch, ring } = this.journal;
    if (since === 'now') return ring.next;
    if (since === 'oldest') return ring.first;
    const cursor = readCursor(since.cursor);
    const wanted = (cursor?.sequence ?? 0) + 1;
    if (cursor === undefined || (cursor.epoch === epoch && wanted > ring.next))
      this.#gap = { type: 'gap', reason: 'unknown' };
    else if (cursor.epoch !== epoch) this.#gap = { type: 'gap', reason: 'restarted' };
    else if (wanted < ring.first) this.#gap = { type: 'gap', reason: 'too-old', missed: ring.first - wanted };
    else return wanted;
    return ring.first;
  }

  #tellGap(gap: GapEvent): string {
    this.#gap = undefined;
    // What was forgotten since is part of it.
    const { first } = this.journal.ring;
    const missed = gap.missed === undefined ? {} : { missed: gap.missed + first - this.#position };
    this.#position = first;
    return JSON.stringify({ ...envelope(this.cursor), ...gap, ...missed });
  }

  #tellOthers(counts: OthersEvent['counts'], now: number): string {
    this.#others = undefined;
    this.#othersTold = now;
    return JSON.stringify({ ...envelope(this.cursor), type: 'others', counts });
  }
}
