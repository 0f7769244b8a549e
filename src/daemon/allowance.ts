/** Milliseconds in which somebody may have so many. */
const SPAN = 60_000;

/** How many of something each user may have in a minute; root has no limit. */
export class Allowance {
  readonly #taken = new Map<number, number>();
  #since = Number.NEGATIVE_INFINITY;

  constructor(private readonly most: number) {}

  /**
   * Takes one, if there is one left.
   *
   * @param now milliseconds of a clock that only goes forward.
   */
  take(uid: number, now: number): boolean {
    if (uid === 0) return true;
    if (now - this.#since >= SPAN) {
      this.#since = now;
      this.#taken.clear();
    }
    const taken = this.#taken.get(uid) ?? 0;
    if (taken >= this.most) return false;
    this.#taken.set(uid, taken + 1);
    return true;
  }
}
