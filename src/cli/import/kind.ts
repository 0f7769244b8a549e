import { BLOCK, checksumFits } from './tar-header.js';

/** How many bytes of a file {@link kindOf} looks at. */
export const HEAD = BLOCK;

export type Kind =
  | { readonly type: 'tar' }
  | {
      readonly type: 'compressed';
      /** Program and arguments that turn standard input into a tar. */ readonly decompress: readonly [
        string,
        ...string[],
      ];
    }
  | { readonly type: 'squashfs' }
  | { readonly type: 'unknown'; readonly why: string };

const compressions: readonly { magic: readonly number[]; decompress: readonly [string, ...string[]] }[] = [
  { magic: [0x1f, 0x8b], decompress: ['gzip', '-dc'] },
  { magic: [0xfd, 0x37, 0x7a, 0x58, 0x5a, 0x00], decompress: ['xz', '-dc'] },
  // --long: archives may be made with windows larger than zstd takes unasked.
  { magic: [0x28, 0xb5, 0x2f, 0xfd], decompress: ['zstd', '-dcq', '--long=31'] },
];

const refused: readonly { magic: string; at: number; why: string }[] = [
  { magic: 'BZh', at: 0, why: 'it is compressed with bzip2: decompress it and give berth the tar archive' },
  { magic: 'PK\x03\x04', at: 0, why: 'it is a zip archive, which keeps no owners and permissions' },
  {
    magic: 'SIF_MAGIC',
    at: 32,
    why: 'it is a SIF image: unpack it (apptainer build --sandbox) and give berth the directory',
  },
  { magic: '070701', at: 0, why: 'it is a cpio archive' },
];

/** What a file is, by its first bytes and never by its name. */
export function kindOf(head: Buffer): Kind {
  for (const { magic, decompress } of compressions) {
    if (head.subarray(0, magic.length).equals(Buffer.from(magic))) return { type: 'compressed', decompress };
  }
  if (head.subarray(0, 4).toString('latin1') === 'hsqs') return { type: 'squashfs' };
  if (head.length >= BLOCK && checksumFits(head.subarray(0, BLOCK))) return { type: 'tar' };
  for (const { magic, at, why } of refused) {
    if (head.subarray(at, at + magic.length).toString('latin1') === magic) return { type: 'unknown', why };
  }
  return {
    type: 'unknown',
    why: head.length === 0 ? 'it is empty' : 'it is neither a tar archive nor a squashfs file',
  };
}
