/** What is checked and claimed before a cluster is started. */
import { access, chmod, constants, mkdir, readdir } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { toolEnvironment } from './command.js';
import { ClusterError, errorCode, errorMessage } from './errors.js';
import { artifacts, writeRecord, type ClusterRecord, type Layout } from './layout.js';

const requiredPrograms: readonly (readonly [program: string, packageName: string])[] = [
  ['unshare', 'util-linux'],
  ['nsenter', 'util-linux'],
  ['setpriv', 'util-linux'],
  ['taskset', 'util-linux'],
  ['losetup', 'mount'],
  ['munged', 'munge'],
  ['slurmctld', 'slurmctld'],
  ['slurmd', 'slurmd'],
  ['srun', 'slurm-client'],
];

/** @throws ClusterError when the machine lacks what a cluster needs */
export async function checkMachine(berth: boolean): Promise<void> {
  if (process.getuid?.() !== 0) {
    throw new ClusterError('Cannot start a cluster', 'it needs root', 'Run it as root, on a machine made for tests.');
  }
  const directories = (toolEnvironment['PATH'] ?? '').split(':');
  const exists = (path: string): Promise<boolean> =>
    access(path, constants.X_OK).then(
      () => true,
      () => false,
    );
  for (const [program, packageName] of requiredPrograms) {
    const found = await Promise.all(directories.map((directory) => exists(join(directory, program))));
    if (!found.includes(true)) {
      throw new ClusterError(
        'Cannot start a cluster',
        `the program ${program} is not installed`,
        `On Debian and Ubuntu: apt-get install ${packageName}`,
      );
    }
  }
  if (!berth) return;
  for (const artifact of [artifacts.plugin, artifacts.daemon]) {
    const found = await access(artifact).then(
      () => true,
      () => false,
    );
    if (!found) {
      throw new ClusterError(
        'Cannot start a cluster with Berth',
        `${artifact} has not been built`,
        'Run `npm run build` first, or start a cluster of bare Slurm with --no-berth.',
      );
    }
  }
}

/**
 * Makes the directory if need be and puts the record into it, before anything else.
 * @throws ClusterError when the directory is not empty
 */
export async function claimDirectory(
  layout: Layout,
  cluster: Pick<ClusterRecord, 'nodes' | 'berth'>,
): Promise<ClusterRecord> {
  const createdDirectory = (await mkdir(layout.dir, { recursive: true })) !== undefined;
  const record: ClusterRecord = { version: 1, createdDirectory, ...cluster, complete: false };
  const taken = (why: string): ClusterError =>
    new ClusterError(
      `Cannot start a cluster in ${layout.dir}`,
      why,
      `Take it down with \`cluster down --dir ${layout.dir}\`, or choose another or an empty directory.`,
    );
  const content = await readdir(layout.dir);
  if (content.includes(basename(layout.record))) throw taken('there is a cluster already');
  if (content.length > 0) throw taken(`it is not empty: it has ${content.slice(0, 5).join(', ')}`);
  try {
    await writeRecord(layout, record, true);
  } catch (error) {
    if (errorCode(error) === 'EEXIST') throw taken('another cluster is starting there');
    throw new ClusterError(`Cannot write ${layout.record}`, errorMessage(error), 'Choose another directory.');
  }
  // The cluster's users have to pass it; mkdtemp(3) makes directories that they may not.
  await chmod(layout.dir, 0o755);
  return record;
}
