/** What a block device was told to read and write, and forgetting what the kernel has cached of it. */
import { readFile, stat, writeFile } from 'node:fs/promises';
import { run } from './program.js';

/** Bytes of a sector in the kernel's statistics, whatever the device's own are. */
const SECTOR = 512;

/** In bytes, since the machine started. */
export interface Traffic {
  readonly read: number;
  readonly written: number;
}

/** The block device beneath a directory. */
export class Disk {
  private constructor(private readonly statistics: string) {}

  /** Undefined where there is none to be told, as with tmpfs, Btrfs and network file systems. */
  static async beneath(directory: string): Promise<Disk | undefined> {
    const { dev } = await stat(directory, { bigint: true });
    // As makedev(3) puts them together.
    const major = ((dev >> 8n) & 0xfffn) | ((dev >> 32n) & ~0xfffn);
    const minor = (dev & 0xffn) | ((dev >> 12n) & ~0xffn);
    const disk = new Disk(`/sys/dev/block/${major}:${minor}/stat`);
    return disk.traffic().then(
      () => disk,
      () => undefined,
    );
  }

  async traffic(): Promise<Traffic> {
    const fields = (await readFile(this.statistics, 'utf8')).trim().split(/\s+/).map(Number);
    const [, , read = 0, , , , written = 0] = fields;
    return { read: read * SECTOR, written: written * SECTOR };
  }
}

/** Drops the kernel's caches of all file systems: pages, directory entries, inodes. What is not yet written stays. */
export async function dropCaches(): Promise<void> {
  await run(['sync']);
  await writeFile('/proc/sys/vm/drop_caches', '3');
}
