// What a run is for berthd.
import { afterEach, expect, it, vi } from 'vitest';
import { runOrder } from '../../src/daemon/requests.js';
import { v1 } from '../../src/protocol/index.js';

afterEach(() => {
  vi.unstubAllEnvs();
});

const order = () => runOrder(new v1.RunRequest({ image: 'a' }), { uid: 1, gid: 1, gids: [], jobId: 7, stepId: 0 });

// The name of the host may have a domain, and then Slurm knows no such node.
it("has the node's name by which Slurm is asked whether its job is still there", () => {
  vi.stubEnv('SLURMD_NODENAME', 'n7');
  expect(order().nodeName).toBe('n7');
  vi.stubEnv('SLURMD_NODENAME', undefined);
  expect(order().nodeName).toMatch(/^[^.]+$/);
});
