import { hostname } from 'node:os';
import { BerthError } from '../../errors/index.js';
import type { NodeState } from '../../events/index.js';
import { askForDocument } from './ask.js';

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
