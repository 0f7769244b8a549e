/** Bytes: a string stands for its UTF-8. */
export type Bytes = string | Buffer;

/** What an archive says about one file, right or wrong. */
export interface TarEntry {
  readonly name: Bytes;
  /** The header's type flag (tar(5)); a regular file without it. */
  readonly type?: string;
  readonly content?: Bytes;
  /** What a link says or leads to. */
  readonly link?: Bytes;
  readonly mode?: number;
  readonly uid?: number;
  readonly gid?: number;
  readonly mtime?: number;
  /** Of a pax header before it. */
  readonly pax?: Readonly<Record<string, Bytes>>;
  /** The size in the header, where it is not the content's. */
  readonly size?: number;
}

const BLOCK = 512;

/** The end of an archive. */
export const END = Buffer.alloc(2 * BLOCK);

export function file(name: Bytes, content: Bytes = '', rest: Partial<TarEntry> = {}): TarEntry {
  return { name, content, ...rest };
}

export function directory(name: Bytes, rest: Partial<TarEntry> = {}): TarEntry {
  return { name, type: '5', mode: 0o755, ...rest };
}

export function symlink(name: Bytes, link: Bytes, rest: Partial<TarEntry> = {}): TarEntry {
  return { name, type: '2', link, mode: 0o777, ...rest };
}

export function hardlink(name: Bytes, link: Bytes, rest: Partial<TarEntry> = {}): TarEntry {
  return { name, type: '1', link, ...rest };
}

/** A tar archive: ustar headers, pax headers where asked for, GNU long names where a name does not fit. */
export function tar(entries: readonly TarEntry[], end: Buffer = END): Buffer {
  return Buffer.concat([...entries.flatMap(blocksOf), end]);
}

function blocksOf(entry: TarEntry): Buffer[] {
  const name = Buffer.from(entry.name);
  const link = Buffer.from(entry.link ?? '');
  const content = Buffer.from(entry.content ?? '');
  const blocks: Buffer[] = [];
  if (entry.pax !== undefined) {
    const records = Object.entries(entry.pax).map(([key, value]) => paxRecord(key, Buffer.from(value)));
    blocks.push(...meta('x', 'PaxHeaders/0', Buffer.concat(records)));
  }
  if (link.length > 100) blocks.push(...meta('K', '././@LongLink', Buffer.concat([link, Buffer.alloc(1)])));
  if (name.length > 100) blocks.push(...meta('L', '././@LongLink', Buffer.concat([name, Buffer.alloc(1)])));
  const isLong = name.length > 100 || link.length > 100;
  blocks.push(header({ ...entry, size: entry.size ?? content.length }, name, link, isLong), pad(content));
  return blocks;
}

function meta(type: string, name: string, content: Buffer): Buffer[] {
  return [header({ name, type, size: content.length }, Buffer.from(name), Buffer.alloc(0), true), pad(content)];
}

function paxRecord(key: string, value: Buffer): Buffer {
  const rest = Buffer.concat([Buffer.from(` ${key}=`), value, Buffer.from('\n')]);
  let length = rest.length + 1;
  while (String(length).length + rest.length !== length) length = String(length).length + rest.length;
  return Buffer.concat([Buffer.from(String(length)), rest]);
}

function header(entry: TarEntry, name: Buffer, link: Buffer, gnu: boolean): Buffer {
  const block = Buffer.alloc(BLOCK);
  name.copy(block, 0, 0, Math.min(name.length, 100));
  number(entry.mode ?? 0o644, block, 100, 8);
  number(entry.uid ?? 0, block, 108, 8);
  number(entry.gid ?? 0, block, 116, 8);
  number(entry.size ?? 0, block, 124, 12);
  number(entry.mtime ?? 1_000_000_000, block, 136, 12);
  block.write(' '.repeat(8), 148);
  block.write(entry.type ?? '0', 156);
  link.copy(block, 157, 0, Math.min(link.length, 100));
  block.write(gnu ? 'ustar  \0' : 'ustar\0' + '00', 257, 'latin1');
  const sum = block.reduce((total, byte) => total + byte, 0);
  block.write(sum.toString(8).padStart(6, '0') + '\0 ', 148);
  return block;
}

/** Octal, or in base 256 (GNU) where that does not fit. */
function number(value: number, block: Buffer, at: number, length: number): void {
  const octal = value < 0 ? undefined : value.toString(8).padStart(length - 1, '0');
  if (octal !== undefined && octal.length < length) {
    block.write(`${octal}\0`, at);
    return;
  }
  let rest = BigInt(value);
  for (let i = at + length - 1; i >= at; i--) {
    block[i] = Number(rest & 0xffn);
    rest >>= 8n;
  }
  block[at] = (block[at] ?? 0) | 0x80;
}

function pad(content: Buffer): Buffer {
  return Buffer.concat([content, Buffer.alloc((BLOCK - (content.length % BLOCK)) % BLOCK)]);
}
