import type { FileHandle } from 'node:fs/promises';

/** Bytes of a squashfs 4.0 superblock; all numbers in it are little-endian. */
const LENGTH = 96;
const MAGIC = 0x73717368;
const ZSTD = 6;
/** What an absent table has for its start. */
const ABSENT = 0xffff_ffff_ffff_ffffn;

/**
 * Is the file a whole squashfs as the converter makes it? A check against a converter that stopped early and said
 * nothing, not against a malicious one.
 *
 * @returns why not, or undefined when it is.
 */
export async function superblockFault(image: FileHandle, size: number): Promise<string | undefined> {
  const bytes = Buffer.alloc(LENGTH);
  const { bytesRead } = await image.read(bytes, 0, LENGTH, 0);
  if (bytesRead < LENGTH) return `it has only ${bytesRead} bytes`;
  if (bytes.readUInt32LE(0) !== MAGIC) return 'it is not a squashfs file';
  const version = `${bytes.readUInt16LE(28)}.${bytes.readUInt16LE(30)}`;
  if (version !== '4.0') return `it is squashfs ${version}, not 4.0`;
  if (bytes.readUInt16LE(20) !== ZSTD) return 'it is not compressed with zstd';
  if (bytes.readUInt32LE(4) < 2) return 'it has nothing but an empty root directory';
  if (bytes.readUInt32LE(12) !== 2 ** bytes.readUInt16LE(22)) return 'its block size is damaged';
  const used = bytes.readBigUInt64LE(40);
  if (used > BigInt(size)) return `it is cut off: ${size} of ${used} bytes`;
  // id, xattr, inode, directory, fragment and export table.
  for (let offset = 48; offset < LENGTH; offset += 8) {
    const start = bytes.readBigUInt64LE(offset);
    if (start !== ABSENT && (start < BigInt(LENGTH) || start >= used)) return 'its tables are damaged';
  }
  return undefined;
}
