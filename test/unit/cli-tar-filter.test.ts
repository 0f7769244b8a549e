import { execFileSync } from 'node:child_process';
import { linkSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Readable, Writable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { ArchiveFault, TarFilter } from '../../src/cli/import/tar-filter.js';

const BLOCK = 512;
const END = Buffer.alloc(2 * BLOCK);

interface Fields {
  readonly name?: string;
  readonly type?: string;
  readonly size?: number;
  /** The size field's bytes, instead of octal digits. */
  readonly rawSize?: Buffer;
}

/** A header with a checksum that fits. */
function header({ name = 'a', type = '0', size = 0, rawSize }: Fields = {}): Buffer {
  const block = Buffer.alloc(BLOCK);
  block.write(name, 0);
  block.write('0000644\0', 100);
  block.write(`${size.toString(8).padStart(11, '0')}\0`, 124);
  rawSize?.copy(block, 124);
  block.write(type, 156);
  block.write('ustar\x0000', 257);
  return sign(block);
}

function sign(block: Buffer): Buffer {
  block.write(' '.repeat(8), 148);
  const sum = block.reduce((total, byte) => total + byte, 0);
  block.write(`${sum.toString(8).padStart(6, '0')}\0 `, 148);
  return block;
}

function content(text: string | Buffer): Buffer {
  const bytes = Buffer.from(text);
  return Buffer.concat([bytes, Buffer.alloc((BLOCK - (bytes.length % BLOCK)) % BLOCK)]);
}

function paxRecord(key: string, value: string): string {
  let length = key.length + value.length + 3;
  length += String(length).length;
  if (String(length).length > String(length - 1).length) length++;
  const record = `${length} ${key}=${value}\n`;
  expect(record).toHaveLength(length);
  return record;
}

/** Runs an archive through the filter, cut into pieces. */
async function filter(archive: Buffer, piece = 65_536): Promise<{ bytes: Buffer; entries: number; devices: number }> {
  const pieces = function* (): Generator<Buffer> {
    for (let i = 0; i < archive.length; i += piece) yield archive.subarray(i, i + piece);
  };
  const tar = new TarFilter();
  const chunks: Buffer[] = [];
  const sink = new Writable({
    write: (chunk: Buffer, _encoding, done) => {
      chunks.push(chunk);
      done();
    },
  });
  await pipeline(Readable.from(pieces(), { objectMode: false }), tar, sink);
  return { bytes: Buffer.concat(chunks), entries: tar.entries, devices: tar.devices };
}

describe('an archive of the real tar', () => {
  let directory: string;
  beforeEach(() => {
    directory = mkdtempSync(join(tmpdir(), 'berth-filter-'));
    const deep = join(directory, ...Array.from({ length: 4 }, () => 'd'.repeat(80)));
    mkdirSync(deep, { recursive: true });
    writeFileSync(join(deep, 'f'.repeat(200)), 'deep');
    writeFileSync(join(directory, 'file'), 'x'.repeat(1000));
    linkSync(join(directory, 'file'), join(directory, 'hard'));
    symlinkSync('t'.repeat(150), join(directory, 'soft'));
    // Enough pieces for several blocks of a sparse map.
    const sparse = join(directory, 'sparse');
    for (let i = 0; i < 100; i++) {
      truncateSync(writeAndName(sparse, i), i * 65_536 + 32_768);
    }
  });
  afterEach(() => {
    rmSync(directory, { recursive: true, force: true });
  });

  function writeAndName(path: string, i: number): string {
    writeFileSync(path, `part ${i}`, { flag: 'a' });
    return path;
  }

  const formats = ['--format=pax', '--format=gnu', '--format=pax --sparse', '--format=gnu --sparse'];
  it.each(formats)('made with %s goes through unchanged, in whatever pieces it comes', async (options) => {
    const archive = execFileSync('tar', ['-C', directory, '-cf', '-', ...options.split(' '), '.'], {
      maxBuffer: 64 * 1024 * 1024,
    });
    const listing = (bytes: Buffer): string =>
      execFileSync('tar', ['--full-time', '-tvf', '-'], { input: bytes }).toString();
    const names = listing(archive).trim().split('\n').length;
    for (const piece of [511, 512, 65_536]) {
      const { bytes, entries, devices } = await filter(archive, piece);
      expect({ entries, devices }).toEqual({ entries: names, devices: 0 });
      // tar pads with zeros to 20 blocks; the filter ends with the two that are the mark.
      const length = bytes.length - END.length;
      expect(bytes.subarray(0, length).equals(archive.subarray(0, length))).toBe(true);
      expect(archive.subarray(length).every((byte) => byte === 0)).toBe(true);
      expect(listing(bytes)).toBe(listing(archive));
    }
  });
});

describe('the filter', () => {
  it('leaves out device nodes, with the pax headers and long names that were theirs', async () => {
    const pax = paxRecord('path', 'dev/null');
    const long = 'n'.repeat(200);
    const file = Buffer.concat([header({ name: 'file', size: 3 }), content('abc')]);
    const archive = Buffer.concat([
      header({ type: 'x', size: pax.length }),
      content(pax),
      header({ type: '3' }),
      header({ type: 'L', size: long.length }),
      content(long),
      header({ type: '4' }),
      file,
      END,
    ]);
    expect(await filter(archive, 100)).toEqual({ bytes: Buffer.concat([file, END]), entries: 1, devices: 2 });
  });

  it('takes a size from a pax header before the one in the header', async () => {
    const size = 2 * BLOCK + 1;
    const pax = paxRecord('path', 'x') + paxRecord('size', String(size));
    const archive = Buffer.concat([
      header({ type: 'x', size: pax.length }),
      content(pax),
      header(),
      content('y'.repeat(size)),
      header({ name: 'b' }),
      END,
    ]);
    expect(await filter(archive)).toEqual({ bytes: archive, entries: 2, devices: 0 });
  });

  it('takes sizes that octal digits cannot hold', async () => {
    const rawSize = Buffer.from([0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2, 1]);
    const archive = Buffer.concat([header({ rawSize }), content('y'.repeat(513)), header({ name: 'b' }), END]);
    expect(await filter(archive)).toEqual({ bytes: archive, entries: 2, devices: 0 });
  });

  it('knows that links and directories have no content, whatever size they claim', async () => {
    const archive = Buffer.concat([
      header({ type: '1', size: 5000 }),
      header({ name: 'd/', type: '5', size: 5000 }),
      header({ name: 'b' }),
      END,
    ]);
    expect(await filter(archive)).toMatchObject({ entries: 3 });
  });

  it('drops what follows the end mark', async () => {
    const archive = Buffer.concat([header(), END, Buffer.alloc(100_000, 'x')]);
    expect((await filter(archive, 4096)).bytes).toEqual(Buffer.concat([header(), END]));
  });

  const broken: [string, () => Buffer, string, boolean][] = [
    [
      'that stops in a header',
      () => header().subarray(0, 100),
      'it stops after 0 bytes, before its end: it was cut short',
      true,
    ],
    [
      'that stops in a content',
      () => Buffer.concat([header({ size: 600 }), Buffer.alloc(600)]),
      'it stops after 1112 bytes, before its end: it was cut short',
      true,
    ],
    ['that stops between entries', () => header(), 'it stops after 512 bytes, before its end: it was cut short', true],
    ['with nothing in it', () => END, 'the archive has no entries', true],
    ['with devices alone', () => Buffer.concat([header({ type: '3' }), END]), 'the archive has no entries', true],
    [
      'with a damaged header',
      () => Buffer.concat([header(), Buffer.alloc(BLOCK, 'x'), END]),
      'it is damaged at byte 512: the checksum does not fit',
      false,
    ],
    [
      'with an entry of a type nobody knows',
      () => Buffer.concat([header({ type: 'M' }), END]),
      'it is damaged at byte 0: an entry of the unknown type "M"',
      false,
    ],
    [
      'with a size that is no number',
      () => Buffer.concat([header({ rawSize: Buffer.from('12z45678901\0') }), END]),
      'it is damaged at byte 0: the size is not a number',
      false,
    ],
    [
      'with a negative size',
      () => Buffer.concat([header({ rawSize: Buffer.alloc(12, 0xff) }), END]),
      'it is damaged at byte 0: the size is negative, or too large',
      false,
    ],
    [
      'with a size that no file has',
      () => Buffer.concat([header({ rawSize: Buffer.concat([Buffer.from([0x80]), Buffer.alloc(11, 0xff)]) }), END]),
      'it is damaged at byte 0: the size is too large',
      false,
    ],
    [
      'with a pax record that runs over its end',
      () => Buffer.concat([header({ type: 'x', size: 10 }), content('99 size=1\n'), header(), END]),
      'it is damaged at byte 1024: a pax record is damaged',
      false,
    ],
    [
      'with a pax size below zero',
      () => Buffer.concat([header({ type: 'x', size: 11 }), content('11 size=-1\n'), header(), END]),
      'it is damaged at byte 1024: a pax record has no valid size',
      false,
    ],
    [
      'with one size for all',
      () => Buffer.concat([header({ type: 'g', size: 10 }), content('10 size=1\n'), header(), END]),
      'it is damaged at byte 1024: one size for all entries',
      false,
    ],
    [
      'with a pax header of a gigabyte',
      () => header({ type: 'x', size: 2 ** 30 }),
      'it is damaged at byte 0: a header of 1073741824 bytes',
      false,
    ],
    [
      'with a pax header and then its end',
      () => Buffer.concat([header({ type: 'x', size: 0 }), END]),
      'it is damaged at byte 512: a header for an entry that does not follow',
      false,
    ],
  ];
  it.each(broken)('refuses an archive %s', async (_, archive, message, atEnd) => {
    const error: unknown = await filter(archive()).catch((thrown: unknown) => thrown);
    expect(error).toBeInstanceOf(ArchiveFault);
    expect(error).toMatchObject({ message, atEnd });
  });
});
