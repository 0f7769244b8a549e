/**
 * The room for what happens on the node: events, which `Journal` keeps and `Reader` reads as far as its viewer may see,
 * and the parts that metrics are made of.
 */
export { readCursor, writeCursor, type Cursor } from './cursor.js';
export {
  EVENTS_VERSION,
  type ContainerEvent,
  type DaemonEvent,
  type DrainEvent,
  type Envelope,
  type GapEvent,
  type HealthEvent,
  type HelloEvent,
  type LaunchEvent,
  type LaunchPurpose,
  type NodeEvent,
  type OthersEvent,
  type PhaseTime,
  type PullEvent,
  type RanksEvent,
  type Spread,
  type StreamEvent,
} from './event.js';
export { envelope, Journal } from './journal.js';
export { Counter, Histogram, metricText, type Family, type Labels, type Sample } from './metrics.js';
export { RankSums, type Step } from './rank-sums.js';
export { OTHERS_INTERVAL, Reader, sees, type Since, type Viewer } from './reader.js';
export { Rounds } from './rounds.js';
export { Ring, type Entry } from './ring.js';
export type { ContainerState, ImageState, NodeState, PullInProgress } from './state.js';
