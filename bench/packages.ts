/** Debian packages that only the comparison needs. */
import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { repository } from '../test/cluster/layout.js';

const run = promisify(execFile);

const PEERS = ['podman', 'crun', 'charliecloud', 'uidmap'] as const;

/** Installs them when missing, saying so on stderr, through the project's own set-up. */
export async function installPeers(): Promise<void> {
  const setup = run('sh', [join(repository, 'scripts', 'with-setup.sh'), 'true'], {
    env: { ...process.env, BERTH_PACKAGES: PEERS.join(' ') },
  });
  setup.child.stderr?.pipe(process.stderr);
  await setup.catch(() => {
    throw new Error(`The set-up with ${PEERS.join(', ')} for the comparison failed. The reason is above.`);
  });
}
