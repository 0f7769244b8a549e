import type { Family, Status } from '../health/index.js';

/** The version of what the stream says: raised when a field changes its meaning or goes. A new field or type keeps it. */
export const EVENTS_VERSION = 1;

/** berthd has started. */
export interface DaemonEvent {
  readonly type: 'daemon';
  readonly what: 'started';
  readonly berthd: string;
  /** Containers of an earlier berthd that it has taken over. */
  readonly adopted: number;
}

export interface PhaseTime {
  readonly name: string;
  /** Microseconds since the request arrived. */
  readonly startUs: number;
  readonly durationUs: number;
}

/** Who asks for a container: slurmstepd once for all of a step's ranks, a rank for itself, or the prolog. */
export type LaunchPurpose = 'step' | 'rank' | 'prepare';

/** A launch was answered, or has failed. */
export interface LaunchEvent {
  readonly type: 'launch';
  readonly job: number;
  /** Slurm's step id, special ones included. */
  readonly step: number;
  readonly uid: number;
  readonly purpose: LaunchPurpose;
  readonly image: string;
  /** Absent where the name service does not know them, or does not answer. */
  readonly user?: string;
  /** The code of the error; absent for a launch that has its container. */
  readonly error?: string;
  /** What failed, and why: as the user was told. */
  readonly text?: string;
  /** The rest is absent where there is no container. */
  readonly container?: string;
  /** Did it build the container, or find it ready? */
  readonly start?: 'cold' | 'warm';
  readonly totalUs?: number;
  readonly phases?: readonly PhaseTime[];
}

/** Of some measurements, in microseconds. */
export interface Spread {
  readonly least: number;
  readonly median: number;
  readonly most: number;
}

/** Ranks of a step have entered their container: all of them together, or some where they came apart. */
export interface RanksEvent {
  readonly type: 'ranks';
  readonly job: number;
  readonly step: number;
  readonly uid: number;
  readonly container: string;
  /** How many have joined since the last such event. */
  readonly joined: number;
  readonly waitUs: Spread;
  readonly joinUs: Spread;
}

/** Which container it is, and whose. */
export interface ContainerIdentity {
  readonly container: string;
  readonly job: number;
  readonly uid: number;
  readonly user: string;
  readonly image: string;
  readonly digest: string;
}

export interface ContainerEvent extends ContainerIdentity {
  readonly type: 'container';
  readonly what: 'built' | 'ended';
}

export interface PullEvent {
  readonly type: 'pull';
  readonly what: 'begun' | 'progress' | 'done' | 'failed';
  /** Tells the pulls of one berthd apart. */
  readonly pull: number;
  readonly uid: number;
  /** Absent where the name service does not know them, or does not answer. */
  readonly user?: string;
  readonly image: string;
  /** Bytes of the layers that are fetched; 0 as long as that is not known. */
  readonly received: number;
  readonly size: number;
  readonly digest?: string;
  /** The code of the error of one that has failed. */
  readonly error?: string;
  /** What failed, and why: as the user was told. */
  readonly text?: string;
}

/** What a check finds is not what it was. */
export interface HealthEvent {
  readonly type: 'health';
  readonly check: string;
  readonly family: Family;
  /** Absent for the first result since berthd has started. */
  readonly from?: Status;
  readonly to: Status;
  readonly text: string;
  readonly hint: string;
}

/** Berth has drained the node in Slurm because of its health, or resumed it. */
export interface DrainEvent {
  readonly type: 'drain';
  readonly what: 'drained' | 'resumed';
  /** NodeName of slurm.conf. */
  readonly node: string;
  /** With which it was drained; it begins with "berth: " and the checks that failed. */
  readonly reason: string;
  /** Of a resumed node: checks that it was drained for, and that there no longer are. */
  readonly gone?: readonly string[];
}

export type NodeEvent = DaemonEvent | LaunchEvent | RanksEvent | ContainerEvent | PullEvent | HealthEvent | DrainEvent;

/** What happened to others, for a viewer who may not know more: how many events of each type. */
export interface OthersEvent {
  readonly type: 'others';
  readonly counts: Readonly<Partial<Record<NodeEvent['type'], number>>>;
}

/** The cursor that a reader came with is not, or no more, a place in this stream. */
export interface GapEvent {
  readonly type: 'gap';
  /** `restarted`: it is another berthd's. `too-old`: what follows it is forgotten. `unknown`: there was no such place. */
  readonly reason: 'restarted' | 'too-old' | 'unknown';
  /** How many events are missing, where that is known. */
  readonly missed?: number;
}

/** What the stream begins with. */
export interface HelloEvent {
  readonly type: 'hello';
  readonly node: string;
  readonly berthd: string;
  /** Whose events are shown in full; 0 is everybody's. */
  readonly uid: number;
  /** The cursor of the newest event there is: what comes after it is new. */
  readonly newest: string;
}

export type StreamEvent = NodeEvent | OthersEvent | GapEvent | HelloEvent;

/** What every message of the stream has. */
export interface Envelope {
  readonly v: typeof EVENTS_VERSION;
  /** Where to go on after this event. */
  readonly cursor: string;
  /** Seconds since the epoch, to the millisecond. */
  readonly time: number;
}

/** Whose an event is; undefined where it is the node's. */
export function ownerOf(event: NodeEvent): number | undefined {
  return 'uid' in event ? event.uid : undefined;
}
