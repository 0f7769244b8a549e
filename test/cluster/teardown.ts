/** Removing a cluster, whole or half-made, without leaving anything. */
import { lstat, readdir, readFile, rmdir } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { requireCommand, runCommand } from './command.js';
import { ClusterError, errorCode } from './errors.js';
import { readRecord, writeRecord, type Layout } from './layout.js';
import { killClusterProcesses } from './processes.js';

/** Mount points of this namespace in a directory, last mounted first. */
async function mountsBeneath(dir: string): Promise<string[]> {
  const mountinfo = await readFile('/proc/self/mountinfo', 'utf8');
  return mountinfo
    .split('\n')
    .map((line) => line.split(' ')[4] ?? '')
    .filter((target) => target.startsWith(`${dir}/`))
    .reverse();
}

/** Device and inode numbers of all files in a directory, as "dev:ino". */
async function filesBeneath(dir: string): Promise<Set<string>> {
  const found = new Set<string>();
  const entries = await readdir(dir, { recursive: true, withFileTypes: true });
  for (const entry of entries) {
    if (!entry.isFile()) continue;
    const { dev, ino } = await lstat(join(entry.parentPath, entry.name));
    // As losetup writes it: major and minor number, joined by a colon.
    found.add(`${String((dev >> 8) & 0xfff)}:${String((dev & 0xff) | ((dev >> 12) & 0xfff00))} ${String(ino)}`);
  }
  return found;
}

/** Loop devices that still hold a file of the cluster. */
async function loopDevices(layout: Layout): Promise<string[]> {
  // By inode: the path that a loop device reports is that in a namespace which may be gone.
  const columns = 'NAME,BACK-MAJ:MIN,BACK-INO';
  const list = await requireCommand(['losetup', '--list', '--noheadings', '--output', columns]);
  const devices = list
    .split('\n')
    .map((line) => line.trim().split(/\s+/))
    .filter((fields) => fields.length === 3);
  if (devices.length === 0) return [];
  const files = await filesBeneath(layout.dir);
  return devices.flatMap(([name = '', device = '', inode = '']) => (files.has(`${device} ${inode}`) ? [name] : []));
}

/** Waits for the kernel to free the loop devices of namespaces that have gone, then detaches what is left. */
async function freeLoopDevices(layout: Layout): Promise<void> {
  const deadline = Date.now() + 5_000;
  for (let pause = 5; ; pause = Math.min(2 * pause, 200)) {
    const devices = await loopDevices(layout);
    if (devices.length === 0) return;
    if (Date.now() > deadline) {
      throw new ClusterError(
        `Cannot free ${devices.join(', ')}`,
        'the loop device holds an image of the cluster and is in use outside of it',
        'See `losetup --list` and `grep loop /proc/*/mountinfo`; unmount it, then take the cluster down again.',
      );
    }
    if (pause >= 200) for (const device of devices) await runCommand(['losetup', '--detach', device]);
    await sleep(pause);
  }
}

/**
 * Removes a cluster: processes, namespaces, mounts, loop devices and files. What is gone already is no error, so it
 * also finishes an earlier attempt. A directory that the cluster did not make itself stays, but empty.
 * @returns false when there was no cluster
 * @throws ClusterError when the directory is not a cluster's, or something cannot be removed
 */
export async function tearDown(layout: Layout): Promise<boolean> {
  const record = await readRecord(layout);
  if (record === undefined) {
    const content = await readdir(layout.dir).catch((error: unknown) => {
      if (errorCode(error) === 'ENOENT') return [];
      throw error;
    });
    if (content.length === 0) return false;
    throw new ClusterError(
      `Cannot take down ${layout.dir}`,
      'it has no cluster.json, so it is not the directory of a cluster',
      'Give the directory that was given to `cluster up`.',
    );
  }
  await writeRecord(layout, { ...record, complete: false });
  await killClusterProcesses(layout);
  for (const target of await mountsBeneath(layout.dir)) {
    await requireCommand(['umount', '--no-mtab', '--lazy', target]);
  }
  const left = await mountsBeneath(layout.dir);
  if (left.length > 0) {
    throw new ClusterError(
      `Cannot remove ${layout.dir}`,
      `something is still mounted on ${left.join(', ')}`,
      'Unmount it and take the cluster down again.',
    );
  }
  await freeLoopDevices(layout);
  // The record goes last, so that an interrupted removal can be repeated. Never into another file system.
  const remove = (await readdir(layout.dir)).map((name) => join(layout.dir, name));
  await requireCommand([
    ...['rm', '--recursive', '--force', '--one-file-system', '--'],
    ...remove.filter((entry) => entry !== layout.record),
  ]);
  await requireCommand(['rm', '--force', '--', layout.record]);
  if (record.createdDirectory) await rmdir(layout.dir);
  return true;
}
