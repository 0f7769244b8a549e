/** Charliecloud's ch-run on an unpacked image. */
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { requireCommand } from '../../test/cluster/command.js';
import type { Cluster } from '../../test/cluster/cluster.js';

/** Unpacks the image. Returns the command that runs what follows it in a container of its own. */
export async function unpackForCharliecloud(cluster: Cluster, tar: string): Promise<readonly string[]> {
  const directory = join(cluster.dir, 'charliecloud');
  await mkdir(directory, { mode: 0o755 });
  // Without device nodes: ch-run shows the host's /dev.
  await requireCommand(['tar', '--extract', '--exclude=./dev/*', `--directory=${directory}`, `--file=${tar}`]);
  return ['ch-run', directory, '--'];
}
