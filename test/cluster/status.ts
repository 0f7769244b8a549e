/** What a cluster is doing, for people and for programs. */
import type { Cluster } from './cluster.js';
import { artifacts, loginHost } from './layout.js';
import { daemonProcess } from './processes.js';

export interface HostStatus {
  readonly host: string;
  /** Process ids of the running daemons by name. */
  readonly daemons: Readonly<Record<string, number>>;
  /** The node's state as sinfo writes it; absent on the login host and when slurmctld does not answer. */
  readonly state?: string;
}

export interface ClusterStatus {
  readonly dir: string;
  readonly nodes: number;
  readonly berth: boolean;
  /** Directory of the programs that users find first on their PATH. */
  readonly programs: string;
  readonly hosts: readonly HostStatus[];
  /** Whether every expected daemon runs and no node is down or drained. */
  readonly healthy: boolean;
}

/** Asks all of a cluster's daemons. A host on which berthd was left out on purpose counts as not healthy. */
export async function clusterStatus(cluster: Cluster): Promise<ClusterStatus> {
  const states = new Map<string, string>();
  const sinfo = ['sinfo', '--noheader', '--Node', '--format=%N %T'];
  const result = await cluster.exec(loginHost, sinfo, { timeout: 60_000 });
  for (const line of result.stdout.trim().split('\n')) {
    const [node, state] = line.split(' ');
    if (node !== undefined && state !== undefined) states.set(node, state);
  }
  const hosts = await Promise.all(
    cluster.hosts.map(async (host): Promise<HostStatus> => {
      const names = host === loginHost ? ['munged', 'slurmctld', 'berthd'] : ['slurmd', 'berthd'];
      const daemons: Record<string, number> = {};
      for (const name of names) {
        const pid = await daemonProcess(cluster.layout, host, name);
        if (pid !== undefined) daemons[name] = pid;
      }
      const state = states.get(host);
      return { host, daemons, ...(state === undefined ? {} : { state }) };
    }),
  );
  const healthy = hosts.every(({ host, daemons, state }) => {
    const expected = (host === loginHost ? 2 : 1) + (cluster.berth ? 1 : 0);
    const isUsable = host === loginHost || /^(idle|mixed|allocated|completing)$/.test(state ?? '');
    return Object.keys(daemons).length === expected && isUsable;
  });
  return { dir: cluster.dir, nodes: cluster.nodes, berth: cluster.berth, programs: artifacts.programs, hosts, healthy };
}

/** The status as a table for people. */
export function formatStatus(status: ClusterStatus): string {
  const lines = status.hosts.map(({ host, daemons, state }) => {
    const running = Object.entries(daemons).map(([name, pid]) => `${name} (${String(pid)})`);
    return `${host.padEnd(6)} ${(state ?? '-').padEnd(12)} ${running.length === 0 ? 'no daemon runs' : running.join(', ')}`;
  });
  return `${lines.join('\n')}\n`;
}
