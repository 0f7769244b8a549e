/** What a part of a bench is: what it compares, and what it has to say of it. */
import type { Target } from '../target.js';
import type { Samples } from './samples.js';
import type { Stage } from './stage.js';

/** Numbers by what they say. */
export type Values = Readonly<Record<string, number>>;

/** One of the things that are compared. */
export interface Variant {
  /** Variants of one group are compared with each other. */
  readonly group: string;
  /** Unique in its group. */
  readonly id: string;
  readonly title: string;
  /** What has to be done before, and is not measured. */
  readonly before?: () => Promise<void>;
  readonly measure: () => Promise<Values>;
}

export interface Column {
  readonly title: string;
  readonly value: string;
  readonly digits: number;
  /** A variant of each group, with which those after it are compared within the same round; without it, the value itself. */
  readonly against?: string;
  /** How that is done: one divided by the other, or their difference. */
  readonly as?: 'ratio' | 'difference';
}

/** A part that is set up. */
export interface Prepared {
  readonly variants: readonly Variant[];
  /** Lines for people: what it was done with. */
  readonly notes: readonly string[];
}

/** @typeParam Own what its bench can be asked for */
export interface Part<Own = unknown> {
  readonly name: string;
  /** One line, for --help. */
  readonly subject: string;
  /** Of its table. */
  readonly heading: string;
  readonly columns: readonly Column[];
  /** Rounds when none are asked for, the first, which is not counted, among them. */
  readonly rounds: number;
  readonly prepare: (stage: Stage, own: Own) => Promise<Prepared>;
  /** What Berth promises, and what was measured of it. */
  readonly targets: (samples: Samples) => readonly Target[];
}
