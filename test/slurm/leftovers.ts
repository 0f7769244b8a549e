/** What jobs may not leave behind on a cluster's nodes. */
import { readdir, readFile, readlink, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { expect } from 'vitest';
import type { Cluster } from '../cluster/cluster.js';
import { requireCommand } from '../cluster/command.js';
import { clusterProcesses } from '../cluster/processes.js';

/** Slurm reports a job as ended before its epilogs have run everywhere. */
const PATIENCE = 15_000;

/**
 * Waits for the jobs to end, and fails when anything of their containers is left on any host: a job, a process, a pin,
 * a mount, a loop device, or an unfinished file in the store.
 */
export async function expectNothingLeft(cluster: Cluster): Promise<void> {
  expect(await settled(() => leftovers(cluster))).toEqual([]);
}

/** What is left, in words; empty as soon as it has been empty once. */
export async function settled(look: () => Promise<string[]>, patience = PATIENCE): Promise<string[]> {
  const deadline = Date.now() + patience;
  for (;;) {
    const found = await look();
    if (found.length === 0 || Date.now() > deadline) return found;
    await sleep(50);
  }
}

/** Everything of jobs and containers that is on the cluster now. */
export async function leftovers(cluster: Cluster): Promise<string[]> {
  const looks = [jobs(cluster), processes(cluster), onHosts(cluster), loopDevices(cluster), unfinishedImages(cluster)];
  return (await Promise.all(looks)).flat();
}

async function jobs(cluster: Cluster): Promise<string[]> {
  const { stdout } = await cluster.exec('login', ['squeue', '--noheader', '--format=job %i of %u is %T']);
  return stdout.split('\n').filter((line) => line !== '');
}

/** slurmctld, slurmd, munged and berthd are all that may run, and its spare builder. Other builders and ranks are neither. */
async function processes(cluster: Cluster): Promise<string[]> {
  const found = await Promise.all(
    (await clusterProcesses(cluster.layout)).map(async (pid) => {
      const [name, command] = await Promise.all([textOf(pid, 'comm'), textOf(pid, 'cmdline')]);
      const words = command.replaceAll('\0', ' ').trim();
      const isDaemon = /^(slurmctld|slurmscriptd|slurmd|munged)$/.test(name.trim()) || words.includes('lib/berthd.js');
      return isDaemon || name === '' || (await isSpareBuilder(pid, words))
        ? []
        : [`process ${pid} (${name.trim()}): ${words}`];
    }),
  );
  return found.flat();
}

/** It waits for the next launch where berthd is; one that builds is elsewhere. */
async function isSpareBuilder(pid: number, command: string): Promise<boolean> {
  if (!command.endsWith('/berth-builder')) return false;
  const parent = /^PPid:\t(\d+)$/m.exec(await textOf(pid, 'status'))?.[1] ?? '';
  const namespaceOf = (of: number | string): Promise<string> => readlink(`/proc/${of}/ns/mnt`).catch(() => '');
  return (await namespaceOf(pid)) === (await namespaceOf(parent));
}

function textOf(pid: number, file: string): Promise<string> {
  return readFile(`/proc/${pid}/${file}`, 'utf8').catch(() => '');
}

/** Pins and mounts. A container's own mounts are in its namespace, which lives as long as a pin or a process. */
async function onHosts(cluster: Cluster): Promise<string[]> {
  const script = `
    find /run/berth/containers /run/berth/workspace -mindepth 1 -maxdepth 1 -printf 'file %p\\n' 2>/dev/null
    awk '$5 ~ "^/run/berth/(workspace|containers/)" { print "mount", $5 }' /proc/self/mountinfo`;
  const found = await Promise.all(
    cluster.hosts.map(async (host) => {
      const { stdout } = await cluster.exec(host, ['sh', '-c', script]);
      const lines = stdout.split('\n').filter((line) => line !== '');
      return lines.map((line) => `on ${host}: ${line}`);
    }),
  );
  return found.flat();
}

/** By inode: the path that a loop device reports is one of a namespace that may be gone. */
async function loopDevices(cluster: Cluster): Promise<string[]> {
  const images = join(cluster.layout.store, 'images', 'sha256');
  const names = await readdir(images).catch(() => []);
  const inodes = new Set(await Promise.all(names.map(async (name) => String((await stat(join(images, name))).ino))));
  const list = await requireCommand(['losetup', '--list', '--noheadings', '--output', 'NAME,BACK-INO']);
  return list
    .split('\n')
    .map((line) => line.trim().split(/\s+/))
    .flatMap(([name = '', inode = '']) => (inodes.has(inode) ? [`${name} holds an image of the store`] : []));
}

async function unfinishedImages(cluster: Cluster): Promise<string[]> {
  const names = await readdir(join(cluster.layout.store, 'tmp')).catch(() => []);
  return names.map((name) => `the store has the unfinished ${name}`);
}
