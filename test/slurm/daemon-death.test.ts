// berthd may be killed at any moment.
import { readdirSync, readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, beforeAll, describe, expect, it } from 'vitest';
import { expectNothingLeft, leftovers, settled } from './leftovers.js';
import { configurations, Site } from './site.js';

/** How often berthd is killed over a launch, in each configuration. */
const KILLS = 10;

let site: Site;
beforeAll(async () => {
  site = await Site.start({ prepare: (started) => started.write('where', WHERE) });
  return () => site.stop();
});
afterEach(() => expectNothingLeft(site.cluster));

const WHERE = '#!/bin/bash\necho $BERTH_CONTAINER $(readlink /proc/self/ns/mnt)\n';

describe.each(configurations())('with userns = $userns', (configuration) => {
  const { node } = configuration;
  const lines = (script: string): Promise<string[]> => site.lines(configuration, script);

  /** What root sees: containers with the number of their ranks. */
  async function containers(): Promise<{ id: string; ranks: number }[]> {
    const { stdout } = await site.cluster.exec(node, ['berth', 'ps', '--json']);
    const listing = JSON.parse(stdout) as { containers: { id: string; ranks: number }[] };
    return listing.containers.map(({ id, ranks }) => ({ id, ranks }));
  }

  async function untilRanksRun(count: number): Promise<void> {
    const waiting = await settled(async () =>
      (await containers()).some(({ ranks }) => ranks === count) ? [] : ['they do not run'],
    );
    expect(waiting).toEqual([]);
  }

  /** Starts a job of two steps, and calls `between` when the first has ended and the second has not begun. */
  async function betweenSteps(between: () => Promise<void>): Promise<string[]> {
    const { home } = site.cluster.layout;
    const job = lines(`
      rm -f first second
      salloc --quiet --image=debian bash -c '
        srun -n2 ./where; touch first
        until [ -e second ]; do sleep 0.02; done
        srun -n2 ./where'`);
    const waiting = await settled(async () => {
      const { status } = await site.cluster.exec('login', ['test', '-e', '/home/alice/first']);
      return status === 0 ? [] : [`no ${home}/alice/first`];
    });
    expect(waiting).toEqual([]);
    await between();
    await site.write('second', '');
    return job;
  }

  it.each(['SIGKILL', 'SIGTERM'] as const)(
    '%s while ranks run: they go on, and the next berthd knows them',
    async (signal) => {
      const job = lines(`srun -n4 --image=debian bash -c './where; sleep 2.5; cat /image'`);
      await untilRanksRun(4);
      const before = await containers();
      await (signal === 'SIGKILL' ? site.cluster.killDaemon(node) : site.cluster.stopDaemon(node));
      const { stderr, status } = await site.cluster.exec(node, ['berth', 'ps']);
      expect(stderr).toContain('BERTH_DAEMON_UNREACHABLE');
      expect(status).toBe(5);
      expect((await leftovers(site.cluster)).join()).toContain(`/run/berth/containers/${before[0]?.id ?? ''}`);
      await site.startDaemon(node);
      expect(await containers()).toEqual(before);
      const seen = await job;
      expect(seen.filter((line) => line === 'debian')).toHaveLength(4);
      expect(seen.filter((line) => line.startsWith(before[0]?.id ?? 'none'))).toHaveLength(4);
    },
  );

  it.each(['SIGKILL', 'SIGTERM'] as const)(
    '%s between steps: the next one finds the same container',
    async (signal) => {
      const seen = await betweenSteps(async () => {
        await (signal === 'SIGKILL' ? site.cluster.killDaemon(node) : site.cluster.stopDaemon(node));
        await site.startDaemon(node);
      });
      expect(seen).toHaveLength(4);
      expect(new Set(seen).size).toBe(1);
    },
  );

  it('a step that starts while berthd is away waits for it', async () => {
    await site.cluster.killDaemon(node);
    const job = lines('srun -n4 --image=debian ./where');
    await sleep(700);
    await site.startDaemon(node);
    const seen = await job;
    expect(seen).toHaveLength(4);
    expect(new Set(seen).size).toBe(1);
  });

  /** Kills berthd over launches of 32 ranks, at moments that `moment` waits for; none of the ranks may notice. */
  async function killOverLaunches(moment: (daemon: number, round: number) => Promise<void>): Promise<void> {
    for (let round = 0; round < KILLS; round++) {
      const daemon = (await site.cluster.daemonStatus(node)) ?? 0;
      const job = lines('srun -n32 --image=debian ./where');
      await moment(daemon, round);
      process.kill(daemon, 'SIGKILL');
      // Waits for its end.
      await site.cluster.killDaemon(node);
      await site.startDaemon(node);
      const seen = await job;
      expect(seen).toHaveLength(32);
      expect(new Set(seen).size).toBe(1);
    }
    expect(await settled(async () => (await containers()).map(({ id }) => id))).toEqual([]);
  }

  it(`${KILLS} times at some moment of a launch: all ranks get into one container`, async () => {
    // A launch takes a few hundred milliseconds here.
    await killOverLaunches((_, round) => sleep((round * 200) / KILLS + Math.random() * 20));
  });

  it(`${KILLS} times while it builds: all ranks get into one container`, async () => {
    let built = 0;
    await killOverLaunches(async (daemon, round) => {
      // Long enough for srun's process to be there, too short for it to have reached the node.
      await sleep(10);
      // A builder lives for milliseconds: too short to be seen by anything that lets others run meanwhile.
      const deadline = performance.now() + 1_500;
      let builder = '';
      while (performance.now() < deadline && builder === '') builder = childrenOf(daemon);
      if (builder !== '') built++;
      const later = performance.now() + round * 0.3;
      while (performance.now() < later);
    });
    expect(built).toBeGreaterThan(KILLS / 2);
  });

  it('the end of a job while berthd is away: the next one clears up', async () => {
    const ended = 'while squeue --noheader | grep -q .; do sleep 0.05; done';
    const job = lines(`srun --image=debian bash -c './where; sleep 1'; ${ended}`);
    await untilRanksRun(1);
    await site.cluster.killDaemon(node);
    const [where = ''] = await job;
    const [id = 'none'] = where.split(' ');
    expect((await leftovers(site.cluster)).join()).toContain(`/run/berth/containers/${id}`);
    await site.startDaemon(node);
    expect(await settled(async () => (await containers()).map((container) => container.id))).toEqual([]);
  });

  it('during an import: nothing of it is left', async () => {
    const job = site.cluster.exec(node, ['berth', 'import', 'halfway', '/usr/bin'], { timeout: 30_000 });
    const started = await settled(async () =>
      (await leftovers(site.cluster)).some((line) => line.includes('unfinished')) ? [] : ['the import has not begun'],
    );
    expect(started).toEqual([]);
    await site.cluster.killDaemon(node);
    const { status, stderr } = await job;
    expect(stderr).toContain('BERTH_DAEMON_UNREACHABLE');
    expect(status).toBe(5);
    await site.startDaemon(node);
    expect(await settled(() => leftovers(site.cluster))).toEqual([]);
    const { stdout } = await site.cluster.exec(node, ['berth', 'images']);
    expect(stdout).not.toContain('halfway');
  });
});

/** Of all its threads: each has the children that it started. */
function childrenOf(pid: number): string {
  const threads = readdirSync(`/proc/${pid}/task`);
  return threads.map((thread) => readFileSync(`/proc/${pid}/task/${thread}/children`, 'utf8')).join('');
}
