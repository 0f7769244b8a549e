/** How long, in milliseconds, readers are served before a launch may come in between. */
const SLICE = 0.3;

/** For each millisecond that readers were served, so many are left for what matters more. */
const SHARE = 19;

/** No longer than this, in milliseconds: on a busy node, others' time counts as spent too. */
const LONGEST_PAUSE = 20;

/** Serves readers one after the other, however many there are, with no more than a twentieth of berthd's time. */
export class Rounds {
  readonly #due = new Set<() => void>();
  #timer: NodeJS.Timeout | undefined;

  /** Has `serve` called, once. */
  add(serve: () => void): void {
    this.#due.add(serve);
    this.#timer ??= setTimeout(() => {
      this.#slice();
    }, 0);
  }

  remove(serve: () => void): void {
    this.#due.delete(serve);
  }

  #slice(): void {
    const start = performance.now();
    let spent = 0;
    for (const serve of this.#due) {
      this.#due.delete(serve);
      serve();
      spent = performance.now() - start;
      if (spent > SLICE) break;
    }
    this.#timer = undefined;
    if (this.#due.size === 0) return;
    this.#timer = setTimeout(
      () => {
        this.#slice();
      },
      Math.min(spent * SHARE, LONGEST_PAUSE),
    );
  }
}
