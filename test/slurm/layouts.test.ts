import { beforeAll, describe, expect, it } from 'vitest';
import { configurations, Site } from './site.js';

const NODES = 3;

let site: Site;
beforeAll(async () => {
  // What a rank says of itself: node, container, and its mount namespace.
  const where = '#!/bin/bash\necho $SLURMD_NODENAME $BERTH_CONTAINER $(readlink /proc/self/ns/mnt)\n';
  site = await Site.start({ nodes: NODES, prepare: (started) => started.write('where', where) });
  return () => site.stop();
});

/** How many ranks said the same. */
function counts(lines: readonly string[]): Map<string, number> {
  const result = new Map<string, number>();
  for (const line of lines) result.set(line, (result.get(line) ?? 0) + 1);
  return result;
}

describe.each(configurations(NODES))('with userns = $userns', (configuration) => {
  const [first = '', second = '', third = ''] = configuration.nodes;
  const lines = (script: string): Promise<string[]> => site.lines(configuration, script);

  /** The number of ranks on each node, after checking that each node has one container. */
  async function ranksByNode(script: string): Promise<Record<string, number>> {
    const seen = counts(await lines(script));
    const result = Object.fromEntries(Array.from(seen, ([line, count]) => [line.split(' ')[0] ?? '', count]));
    expect(Object.keys(result)).toHaveLength(seen.size);
    for (const line of seen.keys()) expect(line).toMatch(/^n\d+ [0-9a-f]{12} mnt:/);
    return result;
  }

  it.each([
    ['srun -N3 -n11', [4, 4, 3]],
    ['srun -N3 --ntasks-per-node=2', [2, 2, 2]],
    ['srun -N3 -n12 --distribution=cyclic', [4, 4, 4]],
  ])('%s has one container for each node', async (srun, [a, b, c]) => {
    const ranks = await ranksByNode(`${srun} --image=debian ./where`);
    expect(ranks).toEqual({ [first]: a, [second]: b, [third]: c });
  });

  it('an arbitrary distribution, and steps on parts of an allocation, use the containers that are there', async () => {
    const ranks = await ranksByNode(`
      printf '%s\\n' ${third} ${first} ${third} >hosts
      salloc --quiet -N3 --image=debian bash -c '
        SLURM_HOSTFILE=hosts srun -n3 --distribution=arbitrary ./where
        srun -N1 -n1 -w ${second} ./where
        srun -N2 -n2 -r1 ./where
      '`);
    expect(ranks).toEqual({ [first]: 1, [second]: 2, [third]: 3 });
  });

  it('the components of a heterogeneous step share its image, each in its own container', async () => {
    const seen = await lines(`srun --quiet --image=debian -n2 ./where : -n3 ./where`);
    expect(Array.from(counts(seen).values()).sort()).toEqual([2, 3]);
    expect(seen.filter((line) => !/^n\d+ [0-9a-f]{12} mnt:/.test(line))).toEqual([]);
  });

  // Slurm gives all components the last of their options: one would be on the host, or in the other's image.
  it('the components of one heterogeneous command cannot have different images', async () => {
    for (const command of [
      'srun --image=debian ./leave-trace : --image=none ./leave-trace',
      'srun --image=none ./leave-trace : --image=debian ./leave-trace',
      'srun --image=debian ./leave-trace : --container-image=other ./leave-trace',
      'salloc --image=debian -n1 : --image=none -n1 srun ./leave-trace',
      'salloc --quiet --image=debian -n1 : -n1 srun --image=none ./leave-trace : ./leave-trace',
    ]) {
      await site.write('leave-trace', '#!/bin/sh\ntouch ~/trace\n');
      const { status, stderr } = await site.shell(
        configuration,
        `${command}; status=$?; test ! -e trace && exit $status`,
      );
      expect(stderr).toMatch(/berth: BERTH_OPTION: --image was given both (debian|none) and (none|debian|other)/);
      expect(status).toBeGreaterThan(0);
    }
  });

  it('an allocation with heterogeneous components has its image in a step over all of them', async () => {
    const ranks = await ranksByNode(`
      salloc --quiet --image=debian -w ${first} -n2 : -w ${second} -n3 srun --het-group=0,1 ./where`);
    expect(ranks).toEqual({ [first]: 2, [second]: 3 });
  });

  it('every task of a job array has containers of its own', async () => {
    await site.write('job.sh', '#!/bin/bash\nsrun -n2 ./where\n');
    const seen = await lines(`
      rm -f array-*
      batch --array=0-2 --image=debian --output=array-%a job.sh
      cat array-0 array-1 array-2`);
    expect(Array.from(counts(seen).values())).toEqual([2, 2, 2]);
  });
});
