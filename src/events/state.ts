import type { ContainerIdentity } from './event.js';

/** What is on a node now, as a viewer may see it: /v1/state. Times are seconds since the epoch. */
export interface NodeState {
  readonly v: number;
  readonly node: string;
  /** berthd's version. */
  readonly berthd: string;
  /** The viewer's. */
  readonly uid: number;
  readonly time: number;
  /** When berthd was started. */
  readonly started: number;
  /** Events after this one are newer than what is said here. */
  readonly cursor: string;
  readonly containers: readonly ContainerState[];
  /** Other users', counted only. */
  readonly otherContainers: number;
  readonly pulls: readonly PullInProgress[];
  readonly otherPulls: number;
}

export interface ContainerState extends ContainerIdentity {
  readonly created: number;
  readonly ranks: number;
}

export interface PullInProgress {
  readonly pull: number;
  readonly image: string;
  /** Bytes; a size of 0 is not known yet. */
  readonly received: number;
  readonly size: number;
}

/** An image that a viewer can name: /v1/images has them. */
export interface ImageState {
  readonly name: string;
  readonly digest: string;
  /** Bytes. */
  readonly size: number;
  readonly created: number;
  /** `site` or `yours`. */
  readonly owner: string;
  /** The viewer's containers of it on this node. */
  readonly containers: number;
}
