import type { RanksEvent, Spread } from './event.js';

/** How long, in milliseconds, ranks that join are gathered before they are told of as one event. */
const GATHERING = 300;

/** Measurements of one event that are kept for its medians. */
const MOST_MEASURED = 4096;

/** A step's ranks on this node. */
export type Step = Pick<RanksEvent, 'job' | 'step' | 'uid' | 'container'>;

interface Sum {
  readonly step: Step;
  joined: number;
  readonly waits: number[];
  readonly joins: number[];
}

/** Makes one event of a step's ranks, however many there are. */
export class RankSums {
  readonly #sums = new Map<string, Sum>();

  constructor(private readonly tell: (event: RanksEvent) => void) {}

  /** A rank is inside; the times are in microseconds. */
  joined(step: Step, waitUs: number, joinUs: number): void {
    const key = `${step.job} ${step.step} ${step.container}`;
    const sum = this.#sums.get(key) ?? this.#begin(key, step);
    sum.joined++;
    if (sum.waits.length >= MOST_MEASURED) return;
    sum.waits.push(waitUs);
    sum.joins.push(joinUs);
  }

  #begin(key: string, step: Step): Sum {
    const sum: Sum = { step, joined: 0, waits: [], joins: [] };
    this.#sums.set(key, sum);
    setTimeout(() => {
      this.#sums.delete(key);
      const { job, step: id, uid, container } = step;
      const spreads = { waitUs: spread(sum.waits), joinUs: spread(sum.joins) };
      this.tell({ type: 'ranks', job, step: id, uid, container, joined: sum.joined, ...spreads });
    }, GATHERING);
    return sum;
  }
}

function spread(values: number[]): Spread {
  const sorted = values.toSorted((a, b) => a - b);
  const middle = sorted[Math.floor((sorted.length - 1) / 2)];
  return { least: sorted[0] ?? 0, median: middle ?? 0, most: sorted.at(-1) ?? 0 };
}
