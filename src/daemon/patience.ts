/** Milliseconds in which others have to make so much that they are worth waiting for. */
const SPAN = 60_000;

/** Bytes: of the same user's other pulls, and of root's, who do not hold themselves up. */
const OWN_PACE = 1024 * 1024;

/**
 * Bytes, of another user's pull: 4 MB/s. A user who took their time on purpose would otherwise keep a whole site from an
 * image. Who does not wait pulls it too, which costs no more than the network's time.
 */
const OTHERS_PACE = 256 * 1024 * 1024;

/**
 * How long one pull waits for others that make the same image. It counts for all of them together: many who take turns at
 * making nothing hold up nobody for longer than one.
 */
export class Patience {
  #made = 0;
  #since: number | undefined;

  constructor(private readonly uid: number) {}

  /**
   * Is there no point in waiting any more?
   *
   * @param made bytes that the other has made so far.
   * @param uid whose pull it is.
   * @param now milliseconds of a clock that only goes forward.
   */
  isOver(made: number, uid: number, now: number): boolean {
    this.#since ??= now;
    const pace = uid === this.uid || uid === 0 ? OWN_PACE : OTHERS_PACE;
    if (made >= this.#made + pace) {
      this.#made = made;
      this.#since = now;
    }
    return now - this.#since > SPAN;
  }
}
