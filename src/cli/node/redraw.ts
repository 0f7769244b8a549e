/** Milliseconds between two pictures at least. */
const INTERVAL = 250;

/** Draws when there is a reason to, and not more often than eyes need it. */
export class Redraw {
  #timer: NodeJS.Timeout | undefined;
  #due = Number.POSITIVE_INFINITY;
  #drawn = Number.NEGATIVE_INFINITY;
  #isStopped = false;

  constructor(private readonly draw: () => Promise<void>) {}

  /** Something has changed. */
  soon(): void {
    this.in(0);
  }

  /** Draws in so many milliseconds at the latest. */
  in(milliseconds: number): void {
    const now = performance.now();
    const due = Math.max(now + milliseconds, this.#drawn + INTERVAL);
    if (this.#isStopped || this.#due <= due) return;
    clearTimeout(this.#timer);
    this.#due = due;
    this.#timer = setTimeout(() => {
      this.#due = Number.POSITIVE_INFINITY;
      this.#drawn = performance.now();
      void this.draw();
    }, due - now);
  }

  stop(): void {
    this.#isStopped = true;
    clearTimeout(this.#timer);
  }
}
