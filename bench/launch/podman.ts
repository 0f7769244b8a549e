/** Rootless podman on a compute node, with everything it keeps in one directory. */
import { mkdir, chown } from 'node:fs/promises';
import { join } from 'node:path';
import { account } from '../../test/cluster/accounts.js';
import type { Cluster } from '../../test/cluster/cluster.js';
import { mustExec } from '../execute.js';
import { user } from '../submit-shell.js';

const NODE = 'n1';
const NAME = 'bench';

/** Without cgroups, a network or limits of its own to set up: less than podman does by default. */
const RUN_OPTIONS = [
  '--cgroups=disabled',
  '--network=host',
  '--ulimit=nofile=1024:1024',
  '--ulimit=nproc=10000:10000',
] as const;

export interface Podman {
  /** What has to be in the environment of both commands. */
  readonly environment: Readonly<Record<string, string>>;
  /** The command that runs what follows it in the running container. */
  readonly exec: readonly string[];
  /** The command that runs what follows it in a container of its own. */
  readonly run: readonly string[];
}

/**
 * Crun does not start where version 1 and 2 of cgroups are mixed: the node gets version 2 alone, as is usual today.
 * Seen in the node's own mount namespace only.
 */
async function useCgroup2(cluster: Cluster): Promise<void> {
  const script =
    '[ "$(stat -f -c %T /sys/fs/cgroup)" = cgroup2fs ] || ' +
    '{ umount -R /sys/fs/cgroup && mount -t cgroup2 cgroup2 /sys/fs/cgroup; }';
  await mustExec(cluster, NODE, ['sh', '-c', script]);
}

/**
 * Imports the image into the user's own storage and starts a container of it that only sleeps. Both end with the
 * cluster.
 */
export async function startPodman(cluster: Cluster, tar: string): Promise<Podman> {
  await useCgroup2(cluster);
  const base = join(cluster.dir, 'podman');
  const { uid, gid } = account(user);
  for (const directory of [base, ...['runtime', 'tmp'].map((name) => join(base, name))]) {
    await mkdir(directory, { mode: 0o700 });
    await chown(directory, uid, gid);
  }
  const environment = { XDG_RUNTIME_DIR: join(base, 'runtime') };
  const options = { user, env: { ...environment, TMPDIR: join(base, 'tmp') } };
  const podman = [
    'podman',
    // Not vfs, which would copy the image for each container.
    '--storage-driver=overlay',
    `--root=${base}/root`,
    `--runroot=${base}/run`,
    `--tmpdir=${base}/tmp`,
    '--cgroup-manager=cgroupfs',
    '--events-backend=none',
  ];
  const run = [...podman, 'run', ...RUN_OPTIONS];
  await mustExec(cluster, NODE, [...podman, 'import', '--quiet', tar, NAME], options);
  await mustExec(cluster, NODE, [...run, '--detach', `--name=${NAME}`, NAME, 'sleep', 'infinity'], options);
  return { environment, exec: [...podman, 'exec', NAME], run: [...run, '--rm', NAME] };
}
