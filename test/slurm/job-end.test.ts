// However a job ends, nothing of its containers is left.
import { readdir, readFile, readlink } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, beforeAll, describe, expect, it } from 'vitest';
import { v1 } from '../../src/protocol/index.js';
import { account } from '../cluster/accounts.js';
import { ending } from '../cluster/command.js';
import { expectNothingLeft, leftovers, settled } from './leftovers.js';
import { changePlugstack } from './plugstack.js';
import { configurations, Site } from './site.js';
import { askDaemon } from './socket.js';

const RANKS = 4;

/** How old a container is before berthd wonders whether its job has ended, in milliseconds: src/daemon/reconcile.ts. */
const YOUNGEST = 60_000;

let site: Site;
beforeAll(async () => {
  site = await Site.start();
  return () => site.stop();
});
afterEach(() => expectNothingLeft(site.cluster));

describe.each(configurations())('with userns = $userns', (configuration) => {
  const { node, partition } = configuration;
  const lines = (script: string): Promise<string[]> => site.lines(configuration, script);

  /** Submits a job whose ranks run for some seconds; resolves when all of them are in their container. */
  async function submit(seconds: number): Promise<string> {
    await site.write('job.sh', `#!/bin/bash\nsrun -n${RANKS} sleep ${seconds}\n`);
    const [job = ''] = await lines('sbatch --parsable --image=debian job.sh');
    await untilRanksRun();
    return job;
  }

  async function untilRanksRun(): Promise<void> {
    const waiting = await settled(async () => {
      const { stdout } = await site.cluster.exec(node, ['berth', 'ps', '--json']);
      return stdout.includes(`"ranks": ${RANKS}`) ? [] : ['the ranks do not run'];
    });
    expect(waiting).toEqual([]);
  }

  it('by itself', async () => {
    expect(await lines(`srun -n${RANKS} --image=debian cat /image`)).toHaveLength(RANKS);
  });

  it('by a failure of its ranks', async () => {
    const { status } = await site.shell(configuration, `srun -n${RANKS} --image=debian sh -c 'kill -SEGV $$'`);
    expect(status).toBe(139);
  });

  it('by scancel', async () => {
    const job = await submit(60);
    await lines(`scancel ${job}`);
  });

  it('by scancel at some moment of its start', async () => {
    await site.write('job.sh', `#!/bin/bash\nsrun -n${RANKS} sleep 60\n`);
    for (let round = 0; round < 8; round++) {
      const [job = ''] = await lines('sbatch --parsable --image=debian job.sh');
      await sleep(40 + round * 20);
      await lines(`scancel ${job}`);
    }
  });

  it('by the death of its slurmstepd', async () => {
    const job = await submit(2);
    const [stepd] = await processesWith(`slurmstepd: [${job}.0]`);
    expect(stepd).toBeGreaterThan(0);
    process.kill(stepd ?? 0, 'SIGKILL');
    await lines(`scancel ${job}`);
  });

  it('by the death of its srun', async () => {
    const argv = ['srun', '-p', partition, '--image=debian', `-n${RANKS}`, 'sleep', '60'];
    const srun = await site.cluster.spawn('login', argv, { user: 'alice', stdio: 'ignore' });
    const end = ending(srun);
    await untilRanksRun();
    srun.kill('SIGKILL');
    await end;
    await lines('scancel --user=alice');
  });

  it('while it runs, no process is there for the container: not in it, besides the ranks, nor beside it', async () => {
    const job = lines(`srun -n${RANKS} --image=debian bash -c 'readlink /proc/self/ns/mnt; exec sleep 1.0625'`);
    await untilRanksRun();
    const host = await site.hostNamespaces(node);
    const daemon = (await site.cluster.daemonStatus(node)) ?? 0;
    const threads = await readdir(`/proc/${daemon}/task`);
    const children = await Promise.all(
      threads.map((thread) => readFile(`/proc/${daemon}/task/${thread}/children`, 'utf8')),
    );
    const inside = await processesInNamespaceOf('sleep 1.0625');
    expect(children.join('')).toBe('');
    expect(inside.names).toEqual(Array(RANKS).fill('sleep'));
    expect(new Set(await job)).toEqual(new Set([inside.namespace]));
    expect(inside.namespace).not.toBe(host.mount);
  });
});

it('without its epilog: when root asks for the health of the node, where no job comes; not when a user does', async () => {
  const [configuration] = configurations();
  const { node } = configuration;
  // Slurm does not know this name of the node, and tells nothing of its jobs; that keeps no other's container.
  const jobId = 999_999;
  const { uid, gid } = account('alice');
  const launch = { purpose: v1.Purpose.PURPOSE_STEP, jobId, stepId: 0, uid, gid, gids: [], image: 'debian' };
  const answer = await askDaemon(site, node, 'root', { launch: { ...launch, nodeName: `${node}.example` } });
  expect(answer.error ?? null).toBeNull();
  const pins = async (): Promise<string[]> =>
    (await leftovers(site.cluster)).filter((line) => line.startsWith(`on ${node}: file /run/berth/containers/`));
  const askedBy = (user: string): Promise<unknown> =>
    site.cluster.exec(node, ['berth', 'health', '--max-age', '0'], { user });
  const job = site.lines(
    configuration,
    `rm -f first second
    salloc --quiet --image=debian bash -c 'srun cat /image; touch first; until [ -e second ]; do sleep 0.02; done'`,
  );
  const hasStarted = async (): Promise<string[]> => {
    const { status } = await site.cluster.exec('login', ['test', '-e', '/home/alice/first']);
    return status === 0 ? [] : ['the step has not ended'];
  };
  expect(await settled(hasStarted)).toEqual([]);
  const mend = await changePlugstack(site.cluster, () => '');
  try {
    await site.write('second', '');
    await job;
    expect(
      await settled(async () => (await leftovers(site.cluster)).filter((line) => line.startsWith('job '))),
    ).toEqual([]);
  } finally {
    await mend();
  }
  await sleep(YOUNGEST + 1_000);
  await askedBy('alice');
  await sleep(2_000);
  expect(await pins()).toHaveLength(2);
  await askedBy('root');
  expect(await settled(async () => (await pins()).slice(1))).toEqual([]);
  expect((await askDaemon(site, node, 'root', { jobEnd: { jobId } })).jobEnd?.ended).toBe(1);
});

async function pids(): Promise<number[]> {
  return (await readdir('/proc')).filter((name) => /^\d+$/.test(name)).map(Number);
}

/** Processes of this machine by the beginning of their command line. */
async function processesWith(beginning: string): Promise<number[]> {
  const found = await Promise.all(
    (await pids()).map(async (pid) => {
      const command = await readFile(`/proc/${pid}/cmdline`, 'utf8').catch(() => '');
      return command.replaceAll('\0', ' ').startsWith(beginning) ? [pid] : [];
    }),
  );
  return found.flat();
}

/** Names of all processes that are in the mount namespace of a process with the given command line. */
async function processesInNamespaceOf(command: string): Promise<{ namespace: string; names: string[] }> {
  const namespaceOf = (pid: number): Promise<string> => readlink(`/proc/${pid}/ns/mnt`).catch(() => '');
  const [first = 0] = await processesWith(command);
  const namespace = await namespaceOf(first);
  const names: string[] = [];
  for (const pid of await pids()) {
    if ((await namespaceOf(pid)) === namespace) names.push((await readFile(`/proc/${pid}/comm`, 'utf8')).trim());
  }
  return { namespace, names };
}
