import { beforeAll, expect, it } from 'vitest';
import { expectNothingLeft } from './leftovers.js';
import { Site } from './site.js';

const NODES = 16;

let site: Site;
beforeAll(async () => {
  // Half of them with user namespaces, half without.
  site = await Site.start({ nodes: NODES / 2 });
  return () => site.stop();
});

it(`a step over ${NODES} nodes has one container on each, and leaves every node as it was`, async () => {
  const everywhere = { ...site.configurations[0], partition: 'debug' };
  const seen = await site.lines(
    everywhere,
    `srun -N${NODES} -n${4 * NODES} --image=debian bash -c 'echo $SLURMD_NODENAME $BERTH_CONTAINER $(cat /image)'`,
  );
  expect(seen).toHaveLength(4 * NODES);
  const containers = new Set(seen);
  expect(containers.size).toBe(NODES);
  const nodes = site.configurations.flatMap((configuration) => configuration.nodes);
  expect(Array.from(containers, (line) => line.split(' ')[0]).sort()).toEqual([...nodes].sort());
  await expectNothingLeft(site.cluster);
  for (const node of nodes) expect(await site.cluster.nodeState(node)).toMatchObject({ state: 'IDLE', flags: [] });
});
