/** Port numbers for a cluster that no other cluster and no other program uses. */
import { createServer, type Server } from 'node:net';
import { ClusterError, errorCode } from './errors.js';

/** Ports of one cluster. */
export interface Ports {
  readonly controller: number;
  readonly firstNode: number;
}

/** A block of ports, kept from other starting clusters until released. */
export interface PortReservation {
  readonly ports: Ports;
  /** To be called once the cluster's daemons listen themselves. */
  readonly release: () => Promise<void>;
}

/** Most nodes that a block has ports for. */
export const maxNodes = 1000;

// Below Linux's ephemeral ports (32768 on), which any client may hold at any time.
const firstBlock = 10_000;
const blockSize = 1024;
const lastBlock = 32_768 - blockSize;

function listen(port: number, address: string): Promise<Server | undefined> {
  return new Promise((resolve, reject) => {
    const server = createServer();
    server.once('error', (error) => {
      if (errorCode(error) === 'EADDRINUSE') resolve(undefined);
      else reject(error);
    });
    server.listen({ port, host: address, exclusive: true }, () => {
      resolve(server);
    });
  });
}

function close(server: Server): Promise<void> {
  return new Promise((resolve) => {
    server.close(() => {
      resolve();
    });
  });
}

/** Whether all ports of a range can be listened on at this moment. */
async function isFree(first: number, count: number): Promise<boolean> {
  const probes = await Promise.all(Array.from({ length: count }, (_, index) => listen(first + index, '127.0.0.1')));
  const servers = probes.filter((probe) => probe !== undefined);
  await Promise.all(servers.map(close));
  return servers.length === count;
}

/**
 * Reserves ports for slurmctld and for each node.
 *
 * Each block's first port is its lock: a starting cluster listens there until its own daemons listen on the
 * others. So there is no lock file that a crash could leave behind.
 * @throws ClusterError when no block is free
 */
export async function reservePorts(nodes: number): Promise<PortReservation> {
  for (let block = firstBlock; block <= lastBlock; block += blockSize) {
    const guard = await listen(block, '127.0.0.1');
    if (guard === undefined) continue;
    if (await isFree(block + 1, nodes + 1)) {
      return {
        ports: { controller: block + 1, firstNode: block + 2 },
        release: () => close(guard),
      };
    }
    await close(guard);
  }
  throw new ClusterError(
    'Cannot find ports for the cluster',
    `every block of ${String(blockSize)} ports from ${String(firstBlock)} on has one in use`,
    'Take down clusters you no longer need, or see `ss -ltn` for what else listens.',
  );
}
