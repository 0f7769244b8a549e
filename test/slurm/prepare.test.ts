// Containers that the prolog builds, where the site lets it.
import { beforeAll, describe, expect, it } from 'vitest';
import { configurations, Site } from './site.js';

let site: Site;
beforeAll(async () => {
  site = await Site.start({
    slurmConf: 'PrologFlags=Alloc\n',
    berthConfig: 'pull_at_launch = false\n[slurm]\nprepare = true\nspool_dir = "/var/spool/slurmd"\n[container]\n',
    plugstackArguments: 'wait=0',
  });
  return () => site.stop();
});

interface Launch {
  readonly step: number;
  readonly cold: boolean;
  readonly ranks: readonly unknown[];
}

describe.each(configurations())('with userns = $userns', (configuration) => {
  const { node } = configuration;
  const lines = (script: string): Promise<string[]> => site.lines(configuration, script);

  /** Of a `berth ps --timeline --json` of a job: for each launch with ranks, whether it built the container. */
  function coldSteps(json: readonly string[]): boolean[] {
    const { containers } = JSON.parse(json.join('\n')) as { containers: { launches: Launch[] }[] };
    expect(containers).toHaveLength(1);
    return (containers[0]?.launches ?? []).filter(({ ranks }) => ranks.length > 0).map(({ cold }) => cold);
  }

  const TIMELINE = 'srun --image=none berth ps --timeline --json';

  it("the first srun of an allocation finds the allocation's container ready", async () => {
    const json = await lines(`salloc --quiet --image=debian bash -c 'srun -n4 true; srun true; ${TIMELINE}'`);
    expect(coldSteps(json)).toEqual([false, false]);
  });

  it('so does that of a batch job', async () => {
    await site.write('job.sh', `#!/bin/bash\nsrun -n4 true\n${TIMELINE}\n`);
    expect(coldSteps(await lines('batch --image=debian --output=out job.sh; cat out'))).toEqual([false]);
  });

  it("another image than the allocation's is built by the step that asks for it", async () => {
    await site.write('job.sh', `#!/bin/bash\nsrun --image=debian -n4 true\n${TIMELINE}\n`);
    const json = await lines('batch --output=out job.sh; cat out');
    expect(coldSteps(json)).toEqual([true]);
  });

  it('an image that cannot be had is reported by the first step, and drains no node', async () => {
    await site.cluster.stopDaemon('login');
    try {
      const { status, stderr } = await site.shell(configuration, 'srun --image=unknown true');
      expect(stderr).toContain('BERTH_IMAGE_UNKNOWN: there is no image unknown');
      expect(status).toBe(1);
      expect(await site.cluster.nodeState(node)).toMatchObject({ reason: '' });
    } finally {
      await site.startDaemon('login');
    }
  });

  it('without berthd the job starts, and its first step reports that', async () => {
    await site.cluster.killDaemon(node);
    try {
      await site.write('job.sh', '#!/bin/bash\nsrun --image=none echo on the host\nsrun echo in the container\n');
      const { stdout } = await site.shell(configuration, 'batch --output=out --image=debian job.sh; cat out');
      expect(stdout).toContain('on the host\n');
      expect(stdout).toContain('BERTH_DAEMON_UNREACHABLE');
      expect(stdout).not.toContain('in the container');
      expect(await site.cluster.nodeState(node)).toMatchObject({ reason: '' });
    } finally {
      await site.startDaemon(node);
    }
  });
});
