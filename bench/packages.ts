/** Debian packages that only the comparisons need. */
import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { repository } from '../test/cluster/layout.js';

const run = promisify(execFile);

/** By what is measured. */
export const peers = {
  launch: ['podman', 'crun', 'charliecloud', 'uidmap'],
  inside: ['e2fsprogs', 'xfsprogs'],
  reading: ['erofs-utils', 'squashfuse', 'fuse3', 'e2fsprogs'],
  making: ['skopeo', 'umoci', 'docker-registry', 'e2fsprogs', 'xfsprogs'],
} as const;

/** Installs what is missing, saying so on stderr, through the project's own set-up. */
export async function installPeers(packages: readonly string[]): Promise<void> {
  const setup = run('sh', [join(repository, 'scripts', 'with-setup.sh'), 'true'], {
    env: { ...process.env, BERTH_PACKAGES: packages.join(' ') },
  });
  setup.child.stderr?.pipe(process.stderr);
  await setup.catch(() => {
    throw new Error(`The set-up with ${packages.join(', ')} for the comparison failed. The reason is above.`);
  });
}
