/** A file system of its own, on a loop device: what is read and written there is counted, and nobody else does so. */
import { mkdir, open, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { Disk } from '../disk.js';
import { run } from '../program.js';

export type FileSystem = 'ext4' | 'xfs';

/** Bytes, of which only those written take space. */
const SIZE = 16 * 2 ** 30;

export interface ScratchDisk {
  /** Where it is mounted. */
  readonly directory: string;
  /** Bytes that all files on it take. */
  used(): Promise<number>;
  /** Bytes written to it since it was made, after writing what is still to be written. */
  written(): Promise<number>;
}

/** Has `work` done with a new, empty file system, whose blocks are in a file beneath `base`. */
export async function withScratchDisk<T>(
  base: string,
  type: FileSystem,
  work: (disk: ScratchDisk) => Promise<T>,
): Promise<T> {
  const file = join(base, 'disk');
  const directory = join(base, 'scratch');
  const handle = await open(file, 'w', 0o600);
  try {
    await handle.truncate(SIZE);
  } finally {
    await handle.close();
  }
  await mkdir(directory, { recursive: true });
  // ext4 would otherwise go on writing its tables for minutes after it is mounted.
  const options = { ext4: ['-q', '-E', 'lazy_itable_init=0,lazy_journal_init=0'], xfs: ['-q', '-m', 'reflink=1'] };
  await run([`mkfs.${type}`, ...options[type], file]);
  await run(['mount', '-o', 'loop,noatime', file, directory]);
  try {
    const disk = await Disk.beneath(directory);
    if (disk === undefined) throw new Error(`the kernel tells nothing of the device of ${directory}`);
    return await work({
      directory,
      used: async () => {
        const used = await run(['df', '--block-size=1', '--output=used', directory]);
        return Number(used.trim().split('\n')[1]);
      },
      written: async () => {
        await run(['sync', '--file-system', directory]);
        return (await disk.traffic()).written;
      },
    });
  } finally {
    await run(['umount', directory]);
    await rm(file, { force: true });
  }
}
