import { performance } from 'node:perf_hooks';
import type { v1 } from '../protocol/index.js';

/** The phases of one launch, in microseconds since its request arrived. */
export class Timeline {
  readonly #start = performance.now();
  readonly #phases: v1.Phase.$Properties[] = [];

  /** Microseconds since the request arrived. */
  now(): number {
    return Math.round((performance.now() - this.#start) * 1000);
  }

  /** Records a phase that began at `startUs` and ends now, or took `durationUs`. */
  record(name: string, startUs: number, durationUs = this.now() - startUs): void {
    this.#phases.push({ name, startUs, durationUs });
  }

  async measure<T>(name: string, work: () => T | Promise<T>): Promise<T> {
    const start = this.now();
    const result = await work();
    this.record(name, start);
    return result;
  }

  get phases(): readonly v1.Phase.$Properties[] {
    return this.#phases;
  }

  /** For the log: { request: 12, policy: 3, … }. */
  summary(): Record<string, number> {
    return Object.fromEntries(this.#phases.map(({ name, durationUs }) => [name ?? '', durationUs ?? 0]));
  }
}
