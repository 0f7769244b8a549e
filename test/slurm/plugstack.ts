/** plugstack.conf of a cluster, which every step, prolog and epilog reads when it starts. */
import { readFile, rename, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Cluster } from '../cluster/cluster.js';

/** Changes it until the function that is returned is called. */
export async function changePlugstack(
  { layout }: Cluster,
  change: (text: string) => string,
): Promise<() => Promise<void>> {
  const path = join(layout.slurmEtc, 'plugstack.conf');
  const original = await readFile(path, 'utf8');
  await replace(path, change(original));
  return () => replace(path, original);
}

/** In one go: the epilog of a job before that read half of it would not tell berthd that the job has ended. */
async function replace(path: string, content: string): Promise<void> {
  await writeFile(`${path}.new`, content);
  await rename(`${path}.new`, path);
}
