/** What berthd itself costs: ranks that join, being idle, memory, and starting. */
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { readdir, readFile } from 'node:fs/promises';
import { connect } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Cluster } from '../test/cluster/cluster.js';
import { artifacts } from '../test/cluster/layout.js';
import { daemonOf, isObject, NODE } from './berthd.js';
import { mustExec } from './execute.js';

const STARTS = 5;
/** Milliseconds in which berthd has to start. */
const START_LIMIT = 20_000;

/** What joining a container that is ready took one rank, in milliseconds. */
export interface Join {
  /** In task_init_privileged, until the rank had the container's namespaces. */
  readonly wait: number;
  /** In task_init, until the rank was in it. */
  readonly join: number;
}

export interface Memory {
  /** MiB that no other process shares: Private_Clean and Private_Dirty (proc_pid_smaps(5)). */
  readonly privateMemory: number;
  /** MiB resident, shared pages included. */
  readonly residentMemory: number;
}

export interface Idle extends Memory {
  /** Seconds from the last launch until the count began. */
  readonly settling: number;
  readonly seconds: number;
  /** Context switches of all of berthd's threads, voluntary or not. */
  readonly wakeUps: number;
}

/** How long the ranks of warm launches waited and joined, as far as berthd remembers them. */
export async function joins(cluster: Cluster): Promise<readonly Join[]> {
  const list: unknown = JSON.parse(await mustExec(cluster, NODE, ['berth', 'ps', '--timeline', '--json']));
  const containers = elements(list, 'containers');
  const launches = containers.flatMap((container) => elements(container, 'launches'));
  return launches
    .filter((launch) => launch['cold'] === false)
    .flatMap((launch) => elements(launch, 'ranks'))
    .map(({ waitUs, joinUs }) => ({ wait: Number(waitUs) / 1000, join: Number(joinUs) / 1000 }));
}

function elements(value: unknown, key: string): readonly Readonly<Record<string, unknown>>[] {
  const list = isObject(value) ? value[key] : undefined;
  return Array.isArray(list) ? list.filter(isObject) : [];
}

/** Context switches of each thread since it began. */
async function contextSwitches(pid: number): Promise<ReadonlyMap<string, number>> {
  const threads = await readdir(`/proc/${pid}/task`);
  const counts = await Promise.all(
    threads.map(async (thread) => {
      const status = await readFile(`/proc/${pid}/task/${thread}/status`, 'utf8');
      const switches = [...status.matchAll(/^(?:non)?voluntary_ctxt_switches:\s*(\d+)$/gm)];
      return [thread, switches.reduce((sum, [, count]) => sum + Number(count), 0)] as const;
    }),
  );
  return new Map(counts);
}

/** Milliseconds of processor time that all threads of a process have used (the kernel's sched-stats). */
export async function processorTime(pid: number): Promise<number> {
  const threads = await readdir(`/proc/${pid}/task`);
  const times = await Promise.all(threads.map((thread) => readFile(`/proc/${pid}/task/${thread}/schedstat`, 'utf8')));
  return times.reduce((sum, text) => sum + Number(text.split(' ')[0]), 0) / 1e6;
}

/** Watches berthd do nothing for some seconds, which begin `settling` seconds from now. */
export async function idleCost(
  cluster: Cluster,
  settling: number,
  seconds: number,
  signal: AbortSignal,
): Promise<Idle> {
  const pid = await daemonOf(cluster);
  await sleep(settling * 1000, undefined, { signal });
  const before = await contextSwitches(pid);
  await sleep(seconds * 1000, undefined, { signal });
  const after = await contextSwitches(pid);
  const wakeUps = [...after].reduce((sum, [thread, count]) => sum + count - (before.get(thread) ?? 0), 0);
  return { settling, seconds, wakeUps, ...(await memoryOf(pid)) };
}

/** What a process has in memory. */
export async function memoryOf(pid: number): Promise<Memory> {
  const memory = await readFile(`/proc/${pid}/smaps_rollup`, 'utf8');
  const mebibytes = (name: string): number =>
    Number(new RegExp(`^${name}:\\s+(\\d+) kB$`, 'm').exec(memory)?.[1]) / 1024;
  return {
    privateMemory: mebibytes('Private_Clean') + mebibytes('Private_Dirty'),
    residentMemory: mebibytes('Rss'),
  };
}

/** Milliseconds from starting berthd until it accepts a connection, several times. Leaves it stopped. */
export async function startTimes(cluster: Cluster, signal: AbortSignal): Promise<readonly number[]> {
  await cluster.stopDaemon(NODE);
  const times: number[] = [];
  for (let count = 0; count < STARTS; count += 1) {
    signal.throwIfAborted();
    times.push(await startTime(cluster));
  }
  return times;
}

/**
 * Milliseconds from starting berthd until it accepts a connection. None may run before; none does afterwards.
 * @param args of berthd
 */
export async function startTime(cluster: Cluster, args: readonly string[] = []): Promise<number> {
  const begin = performance.now();
  const daemon = await cluster.spawn(NODE, [process.execPath, artifacts.daemon, ...args], {
    env: { SLURM_CONF: '/etc/slurm/slurm.conf' },
    stdio: 'ignore',
  });
  const ended = once(daemon, 'exit');
  while (!(await accepts(daemon))) {
    if (daemon.exitCode !== null || performance.now() - begin > START_LIMIT) {
      throw new Error(`berthd on ${NODE} does not start again after it was stopped`);
    }
    await sleep(1);
  }
  const time = performance.now() - begin;
  daemon.kill('SIGTERM');
  await ended;
  return time;
}

function accepts({ pid }: ChildProcess): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(`/proc/${String(pid)}/root/run/berth/berthd.sock`);
    socket.once('connect', () => resolve(true)).once('error', () => resolve(false));
    socket.once('connect', () => socket.destroy());
  });
}
