import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdir, rename, rm, stat } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';

const run = promisify(execFile);
const cache = join(dirname(fileURLToPath(import.meta.url)), '..', '..', 'build', 'rootfs');

/** What nobody reads in a container, and would double its size. */
const LEFT_OUT = ['/usr/share/doc/*', '/usr/share/man/*', '/usr/share/locale/*', '/usr/share/info/*'];

export interface Rootfs {
  /** A plain tar archive. */
  readonly tar: string;
  readonly made: boolean;
}

/**
 * A Debian 12 root file system with the given packages, as a tar archive. It is kept under build/rootfs and made again
 * only when the list changes. Takes half a minute and the network.
 */
export async function debianRootfs(name: string, packages: readonly string[]): Promise<Rootfs> {
  const key = createHash('sha256').update(packages.join(' ')).digest('hex').slice(0, 12);
  const tar = join(cache, `${name}-${key}.tar`);
  if (await stat(tar).catch(() => undefined)) return { tar, made: false };
  await mkdir(cache, { recursive: true });
  const unfinished = `${tar}.${process.pid}.tar`;
  try {
    await run(
      'mmdebstrap',
      [
        ...['--quiet', '--mode=root', '--variant=apt', '--aptopt=APT::Install-Recommends "false"'],
        ...LEFT_OUT.map((path) => `--dpkgopt=path-exclude=${path}`),
        ...(packages.length > 0 ? [`--include=${packages.join(',')}`] : []),
        ...['bookworm', unfinished],
      ],
      { maxBuffer: 64 * 1024 * 1024 },
    );
    await rename(unfinished, tar);
    return { tar, made: true };
  } catch (error) {
    const words = error instanceof Error && 'stderr' in error ? String(error.stderr) : String(error);
    throw new Error(`mmdebstrap could not make a Debian root file system with ${packages.join(', ')}:\n${words}`);
  } finally {
    await rm(unfinished, { force: true });
  }
}
