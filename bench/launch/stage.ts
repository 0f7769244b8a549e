/** Everything the launches need: two clusters, the image in every form, and the shells they are made from. */
import { copyFile, mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { debianRootfs } from '../../scripts/library/rootfs.js';
import { Cluster } from '../../test/cluster/cluster.js';
import { requireCommand } from '../../test/cluster/command.js';
import { errorMessage } from '../../test/cluster/errors.js';
import type { Progress } from '../bench.js';
import { allCases, images, type Case, type Place } from './cases.js';
import { unpackForCharliecloud } from './charliecloud.js';
import { mustExec } from '../execute.js';
import { startPodman } from './podman.js';
import { SubmitShell } from '../submit-shell.js';

export class Stage {
  private constructor(
    /** With Berth; one compute node, n1. */
    readonly cluster: Cluster,
    readonly cases: readonly Case[],
    readonly shells: Readonly<Record<Place, SubmitShell>>,
  ) {}

  /** Sets the stage, has `work` done on it and removes it, whatever happens. */
  static async use<T>(signal: AbortSignal, say: Progress, work: (stage: Stage) => Promise<T>): Promise<T> {
    say('a Debian root file system (half a minute the first time)');
    const { tar } = await debianRootfs('bench', ['coreutils']);
    signal.throwIfAborted();
    const base = await mkdtemp(join(tmpdir(), 'berth-bench-'));
    const clusters: Cluster[] = [];
    try {
      say('two clusters of one node, with and without Berth');
      const cluster = await Cluster.up({ dir: join(base, 'berth'), nodes: 1, signal });
      clusters.push(cluster);
      const slurm = await Cluster.up({ dir: join(base, 'slurm'), nodes: 1, berth: false, signal });
      clusters.push(slurm);
      say('the image for Berth, podman and Charliecloud');
      await importImages(cluster, tar);
      signal.throwIfAborted();
      const charliecloud = await unpackForCharliecloud(cluster, tar);
      const podman = await startPodman(cluster, tar);
      signal.throwIfAborted();
      const cases = allCases({ podman, charliecloud });
      return await work(new Stage(cluster, cases, await openShells(cluster, slurm, podman.environment, signal)));
    } finally {
      say('cleaning up');
      const ends = await Promise.allSettled(clusters.map((cluster) => cluster.down()));
      for (const end of ends) if (end.status === 'rejected') say(errorMessage(end.reason));
      // Not beneath a cluster that would not go: its mounts are still there.
      if (ends.every(({ status }) => status === 'fulfilled')) await rm(base, { recursive: true, force: true });
    }
  }

  /** Ends the allocations. */
  async closeShells(): Promise<void> {
    for (const shell of Object.values(this.shells)) await shell.close();
  }
}

/** Imports the image as it is and once more with a file added, which makes it another image. */
async function importImages(cluster: Cluster, tar: string): Promise<void> {
  await mustExec(cluster, 'login', ['berth', 'import', images.warm, tar]);
  const directory = join(cluster.dir, 'cold');
  const archive = join(directory, 'cold.tar');
  await mkdir(directory);
  await writeFile(join(directory, 'addition'), '');
  await copyFile(tar, archive);
  await requireCommand(['tar', '--append', `--file=${archive}`, `--directory=${directory}`, './addition']);
  await mustExec(cluster, 'login', ['berth', 'import', images.cold, archive]);
}

async function openShells(
  cluster: Cluster,
  slurm: Cluster,
  environment: Readonly<Record<string, string>>,
  signal: AbortSignal,
): Promise<Record<Place, SubmitShell>> {
  const salloc = ['salloc', '--quiet', '--nodes=1'];
  const open = (on: Cluster, name: string, allocation: readonly string[]): Promise<SubmitShell> =>
    SubmitShell.open(on, name, allocation, environment, signal);
  return {
    step: await open(cluster, 'step', [...salloc, `--image=${images.warm}`]),
    job: await open(cluster, 'job', []),
    slurmStep: await open(slurm, 'step', salloc),
    slurmJob: await open(slurm, 'job', []),
  };
}
