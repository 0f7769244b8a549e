/** The image that the Slurm tests run: Debian 12 with MPICH and Open MPI, and files by which a container is judged. */
import { execFile } from 'node:child_process';
import { chmod, chown, copyFile, mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { debianRootfs } from '../../scripts/library/rootfs.js';

const run = promisify(execFile);

/** Debian packages of the image. mpich and openmpi-bin bring the libraries that compiled MPI programs need. */
const PACKAGES = ['mpich', 'openmpi-bin'];

/** Of the files under /fixtures: none of these ids is one of the cluster's users. */
export const fixtures = {
  /** A file of a system account. */
  daemonUid: 1,
  /** A group-owned directory with the setgid bit. */
  staffGid: 50,
} as const;

/**
 * Writes the image as a tar archive into a directory.
 *
 * /fixtures has a file of root's, one of uid 1, a setgid directory of group staff, a setuid copy of `id` that belongs
 * to root, and a program that is not executable. /image says `text`.
 *
 * @returns the archive's path
 */
export async function writeDebianImage(directory: string, text: string): Promise<string> {
  const { tar } = await debianRootfs('test', PACKAGES);
  const archive = join(directory, `${text}.tar`);
  const stage = await mkdtemp(join(directory, 'stage-'));
  try {
    await copyFile(tar, archive);
    await writeFixtures(stage, text);
    await run('tar', [
      '--append',
      `--file=${archive}`,
      `--directory=${stage}`,
      './fixtures',
      './image',
      './etc/localtime',
    ]);
    return archive;
  } finally {
    await rm(stage, { recursive: true, force: true });
  }
}

async function writeFixtures(root: string, text: string): Promise<void> {
  const at = (name: string): string => join(root, 'fixtures', name);
  await mkdir(at('setgid'), { recursive: true });
  await mkdir(join(root, 'etc'));
  await copyFile('/etc/localtime', join(root, 'etc/localtime'));
  await writeFile(join(root, 'image'), `${text}\n`);
  await writeFile(at('root-owned'), '', { mode: 0o644 });
  await writeFile(at('daemon-owned'), '', { mode: 0o600 });
  await writeFile(at('not-executable'), '#!/bin/sh\n', { mode: 0o644 });
  await copyFile('/usr/bin/id', at('setuid-id'));
  await chown(at('daemon-owned'), fixtures.daemonUid, fixtures.daemonUid);
  await chown(at('setgid'), 0, fixtures.staffGid);
  await chmod(at('setgid'), 0o2755);
  await chmod(at('setuid-id'), 0o4755);
}
