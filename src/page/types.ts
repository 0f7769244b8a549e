import type { Envelope, StreamEvent } from '../events/index.js';

/** A message of the stream. */
export type Message = Envelope & StreamEvent;

export type Status = 'pass' | 'warn' | 'fail' | 'unknown';

/** What a check found, as /v1/health has it. */
export interface Finding {
  readonly id: string;
  readonly status: Status;
  readonly text: string;
  readonly hint: string;
}

/** Berth has drained or resumed the node. */
export type Drain = Extract<Message, { type: 'drain' }>;

/** One launch of the timeline. */
export type Launch = Extract<Message, { type: 'launch' }>;

/** What happened to a pull. */
export type Pull = Extract<Message, { type: 'pull' }>;
