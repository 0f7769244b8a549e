// Jobs with a /tmp of their own, by Slurm's job_container/tmpfs: the ranks are in another mount namespace than slurmstepd.
import { join } from 'node:path';
import { beforeAll, describe, expect, it } from 'vitest';
import { EXPORT_MPI_NETWORK } from '../cluster/mpi.js';
import { privateTmp } from '../cluster/slurm-configuration.js';
import { compileMpi } from '../images/programs.js';
import { settled } from './leftovers.js';
import { configurations, Site } from './site.js';

const NODES = 2;

let site: Site;
beforeAll(async () => {
  // The scripts of jobs run in salloc, on the login host: batch scripts would not see a checkout beneath /tmp.
  site = await Site.start({
    nodes: NODES,
    ...privateTmp,
    prepare: ({ cluster }) => compileMpi('exchange', 'openmpi', join(cluster.layout.home, 'alice', 'exchange')),
  });
  return () => site.stop();
});

describe.each(configurations(NODES))('with userns = $userns', (configuration) => {
  const { node } = configuration;
  const lines = (script: string, user = 'alice'): Promise<string[]> => site.lines(configuration, script, { user });

  it("the container has the job's /tmp and /dev/shm, and what one step leaves there the next one finds", async () => {
    await site.write(
      'job.sh',
      `#!/bin/bash
      srun --image=none sh -c 'echo from the host >/tmp/note; echo shared >/dev/shm/note'
      srun --image=debian sh -c 'cat /tmp/note /dev/shm/note; echo from the container >/tmp/note'
      srun --image=debian cat /tmp/note
      srun --image=none cat /tmp/note`,
    );
    const seen = await lines(`salloc --quiet -w ${node} ./job.sh`);
    expect(seen).toEqual(['from the host', 'shared', 'from the container', 'from the container']);
  });

  it("the container has neither the node's /tmp nor that of another job", async () => {
    await site.cluster.exec(node, ['touch', '/tmp/of-the-node']);
    const look = (user: string): Promise<string[]> =>
      lines(`srun -w ${node} --image=debian sh -c 'touch /tmp/of-$(id -un); sleep 1; ls /tmp | grep ^of-'`, user);
    expect(await Promise.all([look('alice'), look('bob')])).toEqual([['of-alice'], ['of-bob']]);
  });

  it('all ranks of a node, and all steps of a job, are in one container', async () => {
    await site.write('where', '#!/bin/bash\necho $BERTH_CONTAINER $(readlink /proc/self/ns/mnt)\n');
    await site.write(
      'job.sh',
      `#!/bin/bash
      srun -n16 ./where
      srun --overlap -n2 ./where & srun --overlap -n2 ./where & wait
      srun ./where`,
    );
    const seen = await lines(`salloc --quiet -w ${node} --image=debian ./job.sh`);
    expect(seen).toHaveLength(21);
    expect(new Set(seen).size).toBe(1);
  });

  it('a job has one container on the node, also when it is the first after berthd has started', async () => {
    await site.cluster.stopDaemon(node);
    await site.startDaemon(node);
    const job = lines(`srun -w ${node} -n4 --image=debian sleep 1`);
    let seen: number[] = [];
    await settled(async () => {
      const { stdout } = await site.cluster.exec(node, ['berth', 'ps', '--json']);
      const { containers } = JSON.parse(stdout) as { containers: { ranks: number }[] };
      seen = containers.map(({ ranks }) => ranks);
      return seen.includes(4) ? [] : ['the ranks do not run'];
    });
    await job;
    expect(seen).toEqual([4]);
  });

  it('PMIx works over nodes, whose sockets are in /tmp', async () => {
    await site.write(
      'job.sh',
      '#!/bin/bash -e\nsrun -n2 true\nsrun --mpi=pmix -n4 ./exchange\nsrun --mpi=pmix -n4 ./exchange\n',
    );
    const seen = await lines(`${EXPORT_MPI_NETWORK}; salloc --quiet -N2 --image=debian ./job.sh`);
    expect(seen).toEqual(['4 ranks: sum 10, ring 3', '4 ranks: sum 10, ring 3']);
  });
});
