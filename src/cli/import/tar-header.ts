/** Bytes of a header, and of the units in which content is stored. */
export const BLOCK = 512;

/** A header block of a tar archive: ustar, pax, GNU or the older ones, which differ in what they leave empty. */
export interface Header {
  readonly name: string;
  /** One character; "0" for the NUL of older archives. */
  readonly type: string;
  /** Of the content as stored, in bytes. A pax header before it may say otherwise. */
  readonly size: number;
  /** GNU's sparse files: do blocks with more of the map follow? */
  readonly extended: boolean;
}

/** Why a block is no header, in words for the user. */
export class HeaderFault extends Error {}

export function isZero(block: Buffer): boolean {
  return block.every((byte) => byte === 0);
}

/** @throws HeaderFault */
export function parseHeader(block: Buffer): Header {
  if (!checksumFits(block)) throw new HeaderFault('the checksum does not fit');
  const flag = block[156] ?? 0;
  return {
    name: text(block, 0, 100),
    type: flag === 0 ? '0' : String.fromCharCode(flag),
    size: number(block, 124, 12),
    extended: (block[482] ?? 0) !== 0,
  };
}

/** Does the block have the checksum that every kind of tar header has? Old programs summed signed bytes. */
export function checksumFits(block: Buffer): boolean {
  let unsigned = 0;
  let signed = 0;
  for (let i = 0; i < BLOCK; i++) {
    const byte = i >= 148 && i < 156 ? 0x20 : (block[i] ?? 0);
    unsigned += byte;
    signed += byte > 127 ? byte - 256 : byte;
  }
  const stored = Number.parseInt(text(block, 148, 8).trim(), 8);
  return stored === unsigned || stored === signed;
}

/**
 * The "size" of a pax header's records ("LENGTH KEY=VALUE\n", the length in bytes and of the whole record), when they
 * have one.
 *
 * @throws HeaderFault
 */
export function paxSize(records: Buffer): number | undefined {
  let size: number | undefined;
  let offset = 0;
  while (offset < records.length) {
    const blank = records.indexOf(0x20, offset);
    const length = blank === -1 ? Number.NaN : Number(records.toString('latin1', offset, blank));
    const end = offset + length;
    if (!Number.isSafeInteger(length) || end <= blank || end > records.length)
      throw new HeaderFault('a pax record is damaged');
    const [key, value] = records.toString('latin1', blank + 1, end - 1).split('=', 2);
    if (key === 'size') {
      size = Number(value);
      if (!Number.isSafeInteger(size) || size < 0) throw new HeaderFault('a pax record has no valid size');
    }
    offset = end;
  }
  return size;
}

/** An octal number, or a big-endian one where the first bit is set (GNU, for what octal digits cannot hold). */
function number(block: Buffer, offset: number, length: number): number {
  const first = block[offset] ?? 0;
  if (first < 0x80) {
    const digits = text(block, offset, length).trim();
    if (!/^[0-7]*$/.test(digits)) throw new HeaderFault('the size is not a number');
    return digits === '' ? 0 : Number.parseInt(digits, 8);
  }
  if (first !== 0x80) throw new HeaderFault('the size is negative, or too large');
  let value = 0;
  for (let i = 1; i < length; i++) value = value * 256 + (block[offset + i] ?? 0);
  if (!Number.isSafeInteger(value)) throw new HeaderFault('the size is too large');
  return value;
}

function text(block: Buffer, offset: number, length: number): string {
  const end = block.indexOf(0, offset);
  return block.toString('latin1', offset, end === -1 || end > offset + length ? offset + length : end);
}
