import type { Waiter } from './user-process.js';

/** A user's pieces of the same kind of work on one node at a time: each takes processors and memory that other jobs may have. */
const MOST_PER_USER = 4;

interface Piece<T> {
  readonly uid: number;
  readonly waiters: Set<Waiter>;
  readonly result: Promise<T>;
  readonly stop: () => void;
}

/** Does the work; `waiters` are those who wait for it at any time, and `stopped` is aborted when there are none any more. */
export type Work<T> = (waiters: ReadonlySet<Waiter>, stopped: AbortSignal) => Promise<T>;

/** What those who wait are told besides the work's own errors. */
export interface Errors {
  /** The waiter is gone. */
  readonly left: () => Error;
  /** The user has so many other pieces under way. */
  readonly tooMany: (others: number) => Error;
}

/** Work that is done once for all who wait for the same, and goes on as long as anybody does. */
export class SharedWork<T> {
  readonly #pieces = new Map<string, Piece<T>>();

  /**
   * The result of the work of that key, which is begun unless it is under way.
   *
   * @throws whatever the work does, or one of `errors`
   */
  async join(key: string, uid: number, waiter: Waiter, work: Work<T>, errors: Errors): Promise<T> {
    const piece = this.#pieces.get(key) ?? this.#start(key, uid, work, errors.tooMany);
    piece.waiters.add(waiter);
    waiter.tell('');
    const gone = waiter.gone.then(() => {
      throw errors.left();
    });
    gone.catch(() => undefined);
    try {
      return await Promise.race([piece.result, gone]);
    } finally {
      piece.waiters.delete(waiter);
      if (piece.waiters.size === 0) piece.stop();
    }
  }

  #start(key: string, uid: number, work: Work<T>, tooMany: Errors['tooMany']): Piece<T> {
    const own = [...this.#pieces.values()].filter((piece) => piece.uid === uid).length;
    if (own >= MOST_PER_USER) throw tooMany(own);
    const stopped = new AbortController();
    const waiters = new Set<Waiter>();
    const result = work(waiters, stopped.signal).finally(() => {
      forget();
    });
    // Those who wait hear of it; perhaps none do any more.
    result.catch(() => undefined);
    // The next who asks starts anew: what was stopped will not end well.
    const forget = (): void => {
      if (this.#pieces.get(key) === piece) this.#pieces.delete(key);
    };
    const stop = (): void => {
      forget();
      stopped.abort();
    };
    const piece: Piece<T> = { uid, waiters, result, stop };
    this.#pieces.set(key, piece);
    return piece;
  }
}
