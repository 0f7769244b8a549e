/** What the compute node's berthd has built, and what it still has. */
import { readdir, readFile, stat } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Cluster } from '../test/cluster/cluster.js';

/** The compute node of the benches' clusters. */
export const NODE = 'n1';

/** Milliseconds the containers of ended jobs may stay. */
const LONGEST_END = 5_000;

/** One container built, in milliseconds from the request's arrival to the reply. */
export interface Build {
  readonly total: number;
  /** The parts by name, as berthd logs them. */
  readonly phases: Readonly<Record<string, number>>;
}

export function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null;
}

/** berthd's log on the node, of which only what is written after this call is read. */
export class BuildLog {
  private constructor(
    private readonly file: string,
    private readonly offset: number,
  ) {}

  static async from(cluster: Cluster): Promise<BuildLog> {
    const file = cluster.layout.logFile(NODE, 'berthd');
    return new BuildLog(file, (await stat(file)).size);
  }

  async builds(): Promise<readonly Build[]> {
    const text = (await readFile(this.file)).subarray(this.offset).toString('utf8');
    return text
      .trimEnd()
      .split('\n')
      .flatMap((line) => {
        const entry: unknown = line === '' ? undefined : JSON.parse(line);
        if (!isObject(entry) || entry['msg'] !== 'container built') return [];
        const { us, totalUs } = entry;
        if (!isObject(us) || typeof totalUs !== 'number') return [];
        const phases = Object.entries(us).map(([name, duration]) => [name, Number(duration) / 1000] as const);
        return [{ total: totalUs / 1000, phases: Object.fromEntries(phases) }];
      });
  }
}

/** The process id of the compute node's berthd. */
export async function daemonOf(cluster: Cluster): Promise<number> {
  const pid = await cluster.daemonStatus(NODE);
  if (pid === undefined) throw new Error(`berthd on ${NODE} has ended. Its log says why.`);
  return pid;
}

/** Waits until berthd has no more than so many containers: those of ended jobs have gone. */
export async function untilContainers(berthd: number, count: number): Promise<void> {
  const deadline = Date.now() + LONGEST_END;
  while ((await readdir(`/proc/${berthd}/root/run/berth/containers`)).length > count) {
    if (Date.now() > deadline) throw new Error(`The container of an ended job is still there after ${LONGEST_END} ms.`);
    await sleep(10);
  }
}
