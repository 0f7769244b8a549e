import { read } from 'node:fs';
import { promisify } from 'node:util';

/** What the dynamic linker reads of a library (gABI chapter 5; LSB 5.0 core, symbol versioning). */
export interface Library {
  /** e_machine: libraries of another one cannot be loaded together. */
  readonly machine: number;
  /** DT_SONAME: the name by which programs ask for it. */
  readonly soname: string | undefined;
  /** DT_NEEDED, in order. */
  readonly needed: readonly string[];
  /** DT_RUNPATH, or DT_RPATH, as it is written. */
  readonly runpath: readonly string[];
  /** By library, the versions of its symbols that have to be there: DT_VERNEED. */
  readonly needs: ReadonlyMap<string, readonly string[]>;
  /** Versions of its own symbols: DT_VERDEF. */
  readonly defines: readonly string[];
}

/** Thrown for a file that is no library that could be read, in words that follow "it is". */
export class NotLibrary extends Error {}

const readAt = promisify(read);

const PT_LOAD = 1;
const PT_DYNAMIC = 2;
const DT = { NULL: 0, NEEDED: 1, STRTAB: 5, STRSZ: 10, SONAME: 14, RPATH: 15, RUNPATH: 29 } as const;
const DT_VERDEF = 0x6ffffffc;
const DT_VERDEFNUM = 0x6ffffffd;
const DT_VERNEED = 0x6ffffffe;
const DT_VERNEEDNUM = 0x6fffffff;

/** The largest parts that are read, in bytes; of entries, their number. What is larger is no library that anybody has. */
const MOST = {
  headers: 64 * 1024,
  dynamic: 64 * 1024,
  strings: 16 * 1024 * 1024,
  versions: 256 * 1024,
  entries: 4096,
} as const;

interface Segment {
  readonly type: number;
  readonly offset: number;
  readonly address: number;
  readonly size: number;
}

/**
 * Reads a shared library of 64 bits, little-endian. The file is an image's or a user's: nothing in it is believed.
 *
 * @param descriptor stays the caller's
 * @throws NotLibrary
 */
export async function readLibrary(descriptor: number): Promise<Library> {
  const header = await bytes(descriptor, 0, 64);
  if (header.toString('latin1', 0, 4) !== '\x7fELF') throw new NotLibrary('no ELF file');
  if (header[4] !== 2 || header[5] !== 1) throw new NotLibrary('no ELF file of 64 bits, little-endian');
  const segments = await readSegments(descriptor, header);
  const dynamic = segments.find(({ type }) => type === PT_DYNAMIC);
  if (!dynamic) throw new NotLibrary('a file without a dynamic section');
  const entries = readDynamic(await bytes(descriptor, dynamic.offset, Math.min(dynamic.size, MOST.dynamic)));
  const first = (tag: number): number | undefined => entries.find(([each]) => each === tag)?.[1];
  const all = (tag: number): number[] => entries.flatMap(([each, value]) => (each === tag ? [value] : []));

  const size = first(DT.STRSZ) ?? 0;
  if (size > MOST.strings) throw new NotLibrary(`a file with ${size} bytes of names`);
  const strings = await bytes(descriptor, offsetOf(first(DT.STRTAB) ?? 0, segments), size);
  const text = (at: number): string => textAt(strings, at);
  const versions = async (tag: number): Promise<Buffer> => {
    const address = first(tag);
    return address === undefined ? Buffer.alloc(0) : some(descriptor, offsetOf(address, segments), MOST.versions);
  };
  const soname = first(DT.SONAME);
  const paths = [...all(DT.RUNPATH), ...(first(DT.RUNPATH) === undefined ? all(DT.RPATH) : [])];
  return {
    machine: header.readUInt16LE(18),
    soname: soname === undefined ? undefined : text(soname),
    needed: all(DT.NEEDED).map(text),
    runpath: paths.flatMap((at) => text(at).split(':')).filter((path) => path !== ''),
    needs: readNeeds(await versions(DT_VERNEED), first(DT_VERNEEDNUM) ?? 0, text),
    defines: readDefines(await versions(DT_VERDEF), first(DT_VERDEFNUM) ?? 0, text),
  };
}

async function readSegments(descriptor: number, header: Buffer): Promise<Segment[]> {
  const offset = number64(header, 32);
  const entrySize = header.readUInt16LE(54);
  const count = header.readUInt16LE(56);
  if (entrySize < 56 || entrySize * count > MOST.headers) throw new NotLibrary('an ELF file with no sound headers');
  const table = await bytes(descriptor, offset, entrySize * count);
  return Array.from({ length: count }, (_, i) => {
    const at = i * entrySize;
    return {
      type: table.readUInt32LE(at),
      offset: number64(table, at + 8),
      address: number64(table, at + 16),
      size: number64(table, at + 32),
    };
  });
}

function readDynamic(table: Buffer): [number, number][] {
  const entries: [number, number][] = [];
  for (let at = 0; at + 16 <= table.length; at += 16) {
    const tag = number64(table, at);
    if (tag === DT.NULL) break;
    entries.push([tag, number64(table, at + 8)]);
  }
  return entries;
}

/** Elf64_Verneed: version, number of parts, file, first part, next; Elf64_Vernaux: hash, flags, other, name, next. */
function readNeeds(table: Buffer, count: number, text: (at: number) => string): Map<string, string[]> {
  const needs = new Map<string, string[]>();
  let budget: number = MOST.entries;
  let at = 0;
  for (let i = 0; i < count && budget > 0; i++) {
    const parts = word16(table, at + 2);
    const versions: string[] = [];
    let part = at + word32(table, at + 8);
    for (let j = 0; j < parts && budget-- > 0; j++) {
      versions.push(text(word32(table, part + 8)));
      const next = word32(table, part + 12);
      if (next === 0) break;
      part += next;
    }
    needs.set(text(word32(table, at + 4)), versions);
    const next = word32(table, at + 12);
    if (next === 0) break;
    at += next;
  }
  return needs;
}

/** Elf64_Verdef: version, flags, index, parts, hash, first part, next; Elf64_Verdaux: name, next. */
function readDefines(table: Buffer, count: number, text: (at: number) => string): string[] {
  const defines: string[] = [];
  let at = 0;
  for (let i = 0; i < Math.min(count, MOST.entries); i++) {
    defines.push(text(word32(table, at + word32(table, at + 12))));
    const next = word32(table, at + 16);
    if (next === 0) break;
    at += next;
  }
  return defines;
}

function offsetOf(address: number, segments: readonly Segment[]): number {
  const holder = segments.find(
    (segment) => segment.type === PT_LOAD && address >= segment.address && address < segment.address + segment.size,
  );
  if (!holder) throw new NotLibrary('an ELF file whose parts lie outside of it');
  return address - holder.address + holder.offset;
}

/** Exactly so many bytes. */
async function bytes(descriptor: number, offset: number, length: number): Promise<Buffer> {
  const got = await some(descriptor, offset, length);
  if (got.length < length) throw new NotLibrary('a file that was cut short');
  return got;
}

/** So many bytes, or fewer where the file ends. */
async function some(descriptor: number, offset: number, length: number): Promise<Buffer> {
  const buffer = Buffer.alloc(length);
  let filled = 0;
  while (filled < length) {
    const { bytesRead } = await readAt(descriptor, buffer, filled, length - filled, offset + filled);
    if (bytesRead === 0) break;
    filled += bytesRead;
  }
  return buffer.subarray(0, filled);
}

function number64(buffer: Buffer, at: number): number {
  const value = buffer.readBigUInt64LE(at);
  if (value > BigInt(Number.MAX_SAFE_INTEGER) / 2n) throw new NotLibrary('an ELF file whose parts lie outside of it');
  return Number(value);
}

function word16(buffer: Buffer, at: number): number {
  return at + 2 <= buffer.length ? buffer.readUInt16LE(at) : 0;
}

function word32(buffer: Buffer, at: number): number {
  return at + 4 <= buffer.length ? buffer.readUInt32LE(at) : 0;
}

function textAt(strings: Buffer, at: number): string {
  const end = strings.indexOf(0, at);
  if (at >= strings.length || end < 0 || end - at > 4096)
    throw new NotLibrary('an ELF file whose names lie outside of it');
  return strings.toString('latin1', at, end);
}
