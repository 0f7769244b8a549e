import { SITE_CHECK_ID, SITE_DIRECTORY_ID, type Status } from './check.js';
import type { Finding } from './run.js';

export interface DrainRules {
  readonly drainAfter: number;
  readonly resumeAfter: number;
}

/** What a check has shown, asked by Slurm, time after time. */
export interface Tally {
  /** In a row, up to now. */
  readonly fails: number;
  readonly passes: number;
}

/** What is known when a node may have to be drained or resumed. */
export interface History {
  readonly tallies: ReadonlyMap<string, Tally>;
  /** What a check found last. */
  readonly textOf: (id: string) => string;
  /** In how many runs in a row, up to now, there was no such check: skipped by the configuration, or removed by the site. */
  readonly absentFor: (id: string) => number;
}

/** Counts one more run. What could not be found out is neither a failure nor a pass. */
export function tally(before: Tally | undefined, status: Status): Tally {
  const { fails, passes } = before ?? { fails: 0, passes: 0 };
  if (status === 'fail') return { fails: fails + 1, passes: 0 };
  // A warning is no reason to keep a node that failed from its jobs.
  if (status === 'pass' || status === 'warn') return { fails: 0, passes: passes + 1 };
  return { fails: 0, passes: 0 };
}

/** The checks that have failed often enough. */
export function drainworthy(tallies: ReadonlyMap<string, Tally>, { drainAfter }: DrainRules): string[] {
  return [...tallies].filter(([, { fails }]) => fails >= drainAfter).map(([id]) => id);
}

/** The runs that Slurm has asked for, counted. Lives as long as berthd: after a restart, everything is counted anew. */
export class Counted implements History {
  readonly #tallies = new Map<string, Tally>();
  readonly #texts = new Map<string, string>();
  /** The last run that each check was part of. */
  readonly #seen = new Map<string, number>();
  #runs = 0;
  /** The last run in which it was not known which checks the site has. */
  #unlisted = 0;

  /** @param ids of Berth's own checks, whether they are done or not. */
  constructor(private readonly ids: readonly string[]) {}

  count(findings: readonly Finding[]): void {
    this.#runs++;
    this.#texts.clear();
    for (const { id, text } of findings) {
      this.#texts.set(id, text);
      this.#seen.set(id, this.#runs);
    }
    this.#tally(findings);
    for (const id of this.#tallies.keys()) {
      if (!this.#texts.has(id)) this.#tallies.delete(id);
    }
    if (this.#texts.has(SITE_DIRECTORY_ID)) this.#unlisted = this.#runs;
  }

  /** Forgets what was counted. @param findings of the last run, which are the first that count. */
  startAnew(findings: readonly Finding[]): void {
    this.#tallies.clear();
    this.#tally(findings);
  }

  #tally(findings: readonly Finding[]): void {
    for (const { id, status } of findings) this.#tallies.set(id, tally(this.#tallies.get(id), status));
  }

  get tallies(): ReadonlyMap<string, Tally> {
    return this.#tallies;
  }

  readonly textOf = (id: string): string => this.#texts.get(id) ?? '';

  readonly absentFor = (id: string): number => {
    const isSite = SITE_CHECK_ID.test(id);
    // Somebody may well begin a reason of their own with "berth: ". Only what was a check can be one no longer.
    if (!isSite && !this.ids.includes(id)) return 0;
    return this.#runs - Math.max(this.#seen.get(id) ?? 0, isSite ? this.#unlisted : 0);
  };
}
