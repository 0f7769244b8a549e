/** So many may do something at a time; who comes later waits for their turn. */
export class Slots {
  readonly #waiting = new Set<() => void>();

  constructor(private free: number) {}

  /**
   * Resolves when it is one's turn; calling what it gives ends it.
   *
   * @throws whatever `signal` was aborted with: who is gone must not stand in the queue with what it holds open.
   */
  async take(signal: AbortSignal): Promise<() => void> {
    signal.throwIfAborted();
    if (this.free > 0) this.free--;
    else await this.#turn(signal);
    return () => {
      const [next] = this.#waiting;
      if (next) next();
      else this.free++;
    };
  }

  #turn(signal: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      const leave = (): void => {
        this.#waiting.delete(begin);
        signal.removeEventListener('abort', abort);
      };
      const begin = (): void => {
        leave();
        resolve();
      };
      const abort = (): void => {
        leave();
        reject(signal.reason as Error);
      };
      this.#waiting.add(begin);
      signal.addEventListener('abort', abort);
    });
  }
}
