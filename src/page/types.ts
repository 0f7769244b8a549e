import type { Envelope, StreamEvent } from '../events/index.js';

/** A message of the stream. */
export type Message = Envelope & StreamEvent;

/** As /v1/state has it. Times are seconds since the epoch. */
export interface State {
  readonly node: string;
  readonly berthd: string;
  readonly uid: number;
  readonly time: number;
  readonly started: number;
  readonly containers: readonly {
    readonly container: string;
    readonly job: number;
    readonly user: string;
    readonly image: string;
    readonly created: number;
    readonly ranks: number;
  }[];
  readonly otherContainers: number;
  readonly pulls: readonly {
    readonly pull: number;
    readonly image: string;
    readonly received: number;
    readonly size: number;
  }[];
  readonly otherPulls: number;
}

export interface Image {
  readonly name: string;
  readonly size: number;
  readonly created: number;
  readonly owner: string;
  readonly containers: number;
}

export type Status = 'pass' | 'warn' | 'fail' | 'unknown';

/** What a check found, as /v1/health has it. */
export interface Finding {
  readonly id: string;
  readonly status: Status;
  readonly text: string;
  readonly hint: string;
}

/** One launch of the timeline. */
export type Launch = Extract<Message, { type: 'launch' }>;
