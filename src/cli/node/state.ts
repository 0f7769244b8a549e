import { hostname } from 'node:os';
import { BerthError } from '../../errors/index.js';
import { askForDocument } from './ask.js';

/** A container, as /v1/state has it. Times are seconds since the epoch. */
export interface ContainerState {
  readonly container: string;
  readonly job: number;
  readonly user: string;
  readonly image: string;
  readonly created: number;
  readonly ranks: number;
}

export interface PullState {
  readonly pull: number;
  readonly image: string;
  /** Bytes; a size of 0 is not known yet. */
  readonly received: number;
  readonly size: number;
}

/** What is on a node now. */
export interface NodeState {
  readonly node: string;
  readonly berthd: string;
  readonly started: number;
  readonly cursor: string;
  readonly containers: readonly ContainerState[];
  readonly otherContainers: number;
  readonly pulls: readonly PullState[];
  readonly otherPulls: number;
}

/** @throws BerthError BERTH_DAEMON_UNREACHABLE, BERTH_PROTOCOL_VERSION; RemoteError what berthd says. */
export async function askForState(socket: string): Promise<NodeState> {
  const value = await askForDocument(socket, '/v1/state');
  if (isState(value)) return value;
  throw new BerthError('BERTH_DAEMON_UNREACHABLE', {
    socket,
    host: hostname(),
    why: 'what it says of the node is of another version: it has to be that of the command line',
  });
}

/** Of berthd's own words, the rest need not be looked at. */
function isState(value: unknown): value is NodeState {
  if (typeof value !== 'object' || value === null) return false;
  const fields: Partial<Record<string, unknown>> = { ...value };
  return fields['v'] === 1 && Array.isArray(fields['containers']) && Array.isArray(fields['pulls']);
}
