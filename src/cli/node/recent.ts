import type { Message } from './stream.js';
import { eventLine } from './words.js';

/** Launches whose phases are looked at: the last ones. */
const MOST_LAUNCHES = 200;

/** Events that are shown, the last ones. */
const MOST_LINES = 200;

/** Seconds over which launches are counted. */
export const RATE_SPAN = 10;

export interface PhaseSpread {
  readonly name: string;
  /** Microseconds. */
  readonly median: number;
  readonly most: number;
}

/** What the last events come to. */
export class Recent {
  /** Newest last. */
  readonly lines: string[] = [];
  readonly #launches: {
    readonly start: 'cold' | 'warm';
    readonly totalUs: number;
    readonly phases: ReadonlyMap<string, number>;
  }[] = [];
  /** When launches were, in seconds; those of others too. */
  #times: number[] = [];
  failed = 0;

  add(message: Message): void {
    if (message.type === 'hello') return;
    this.lines.push(eventLine(message));
    if (this.lines.length > MOST_LINES) this.lines.shift();
    if (message.type === 'others') {
      const count = message.counts.launch ?? 0;
      this.#times.push(...Array.from({ length: count }, () => message.time));
    }
    if (message.type !== 'launch') return;
    this.#times.push(message.time);
    if (message.error !== undefined) this.failed++;
    const { start, totalUs = 0, phases = [] } = message;
    if (!start) return;
    const durations = new Map(phases.map(({ name, durationUs }) => [name, durationUs]));
    this.#launches.push({ start, totalUs, phases: durations });
    if (this.#launches.length > MOST_LAUNCHES) this.#launches.shift();
  }

  /** Launches in a second, over the last {@link RATE_SPAN}. */
  rate(now: number): number {
    this.#times = this.#times.filter((time) => now - time < RATE_SPAN);
    return this.#times.length / RATE_SPAN;
  }

  /** How many of the last launches were of that kind, and how long they took. */
  launches(start: 'cold' | 'warm'): {
    readonly count: number;
    readonly total: PhaseSpread;
    readonly phases: PhaseSpread[];
  } {
    const own = this.#launches.filter((launch) => launch.start === start);
    const names = new Set(own.flatMap(({ phases }) => [...phases.keys()]));
    const of = (name: string): number[] => own.flatMap(({ phases }) => phases.get(name) ?? []);
    return {
      count: own.length,
      total: spread(
        'total',
        own.map(({ totalUs }) => totalUs),
      ),
      phases: [...names].map((name) => spread(name, of(name))),
    };
  }
}

function spread(name: string, values: readonly number[]): PhaseSpread {
  const sorted = values.toSorted((a, b) => a - b);
  return { name, median: sorted[Math.floor((sorted.length - 1) / 2)] ?? 0, most: sorted.at(-1) ?? 0 };
}
