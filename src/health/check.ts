import type { Config } from '../config/index.js';
import type { Container } from '../container/index.js';
import type { Places } from './places.js';
import type { ProbeSession, StuckQuestions } from './probe.js';
import type { SlurmFacts } from './slurm-facts.js';

/** `unknown`: it could not be found out. Nothing is ever done to a node because of that. */
export type Status = 'pass' | 'warn' | 'fail' | 'unknown';

/** What a check found. */
export interface Verdict {
  readonly status: Status;
  /** One line, in plain words, with the value that was read. */
  readonly text: string;
  /** What to do, where that is not what the check says. */
  readonly hint?: string;
}

export type Family =
  'installation' | 'kernel' | 'store' | 'containers' | 'modules' | 'files' | 'slurm' | 'hardware' | 'site';

/** What the id of each of the site's own checks is like. */
export const SITE_CHECK_ID = /^site-[a-z0-9-]+$/;

/** The one instead of them when it cannot be told which there are. */
export const SITE_DIRECTORY_ID = 'site';

/** One row of the table that docs/health.md shows. */
export interface CheckWords {
  /** Lower case with hyphens; stable: sites name it in [health] skip, and Slurm shows it in a node's reason. */
  readonly id: string;
  readonly family: Family;
  readonly reads: string;
  readonly rule: string;
  readonly matters: string;
  readonly hint: string;
}

export interface Check extends CheckWords {
  /**
   * Checks that explain this one's failure: where one of them fails, this is not tried, so that one thing that is broken
   * is one finding.
   */
  readonly needs?: readonly string[];
  readonly run: (context: Context) => Verdict | Promise<Verdict>;
}

/** What checks may look at. */
export interface Context {
  readonly config: Config;
  /** The file it came from, where not the usual one. */
  readonly configFile: string | undefined;
  readonly places: Places;
  /** Whatever may hang goes through here. */
  readonly probe: ProbeSession;
  readonly stuck: StuckQuestions;
  /** What slurm.conf says; undefined on a node without Slurm. */
  readonly slurm: SlurmFacts | undefined;
  readonly containers: () => readonly Container[];
  /** Why the configured address is not served, as everybody may know it; undefined when it is. */
  readonly eventsFault: () => string | undefined;
  /** What a check keeps from run to run while berthd lives. */
  readonly memory: Memory;
}

/** A check's own values, by name. */
export class Memory {
  readonly #values = new Map<string, unknown>();

  /** The value under a name, made when it is asked for first. One name is used for one type only. */
  get<T extends object>(name: string, make: () => T): T {
    const known = this.#values.get(name) as T | undefined;
    if (known !== undefined) return known;
    const made = make();
    this.#values.set(name, made);
    return made;
  }
}

export const pass = (text: string): Verdict => ({ status: 'pass', text });
export const warn = (text: string): Verdict => ({ status: 'warn', text });
export const fail = (text: string): Verdict => ({ status: 'fail', text });
export const unknown = (text: string): Verdict => ({ status: 'unknown', text });

/** "1 image", "3 images" */
export function count(number: number, noun: string): string {
  return `${number} ${noun}${number === 1 ? '' : 's'}`;
}

/** The first few of a list, and how many more there are. */
export function some(list: readonly string[], most = 3): string {
  const more = list.length - most;
  return list.slice(0, most).join(', ') + (more > 0 ? ` and ${more} more` : '');
}
