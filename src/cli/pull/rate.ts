/** How far back a rate looks, in milliseconds: long enough for layers that come in bursts. */
const WINDOW = 5000;

/** How fast a growing number of bytes grows, lately. */
export class Rate {
  #samples: { readonly at: number; readonly bytes: number }[] = [];

  constructor(private readonly now: () => number = () => performance.now()) {
    this.restart();
  }

  restart(): void {
    this.#samples = [{ at: this.now(), bytes: 0 }];
  }

  observe(bytes: number): void {
    const at = this.now();
    this.#samples.push({ at, bytes });
    // One sample from before the window stays, or there would be none to compare with.
    const first = this.#samples.findIndex((sample) => sample.at >= at - WINDOW);
    if (first > 1) this.#samples.splice(0, first - 1);
  }

  /** Bytes per second; 0 before anything has come. */
  perSecond(): number {
    const [first] = this.#samples;
    const last = this.#samples.at(-1);
    if (!first || !last || last.at === first.at) return 0;
    return Math.max(0, (1000 * (last.bytes - first.bytes)) / (last.at - first.at));
  }
}
