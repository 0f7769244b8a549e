/** Modules of the cluster's site. */
import { copyFile, mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { repository } from '../../../test/cluster/layout.js';
import type { Stage } from '../../parts/stage.js';

/** One with a mount and variables, and one that comes with Berth. */
export const modules = { small: 'site', mpi: 'openmpi-pmix' } as const;

const small = `[[mounts]]
source = "/usr/share"
destination = "/opt/site"
read_only = true

[environment]
set = { SITE_JOB = "%j" }
prepend = { PATH = "/opt/site/bin" }
`;

/** Puts them where the site has its modules. */
export async function writeModules({ cluster }: Stage): Promise<void> {
  const directory = join(cluster.layout.berthEtc, 'modules.d');
  await mkdir(directory);
  const shipped = `${modules.mpi}.toml`;
  await copyFile(join(repository, 'share', 'modules.d', shipped), join(directory, shipped));
  await writeFile(join(directory, `${modules.small}.toml`), small);
}
