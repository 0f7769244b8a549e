import { execFileSync } from 'node:child_process';
import { mkdirSync, readFileSync, statSync, truncateSync, writeFileSync } from 'node:fs';
import { constants } from 'node:os';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { describe, expect, it } from 'vitest';
import { noise } from './import-tools.js';
import { build, digestOf, mountImage, runConverter, sha256, type Report } from './helpers/converter.js';
import { inScratchOfItsOwn } from './helpers/lifecycle.js';
import { list } from './helpers/listing.js';
import { removeMount } from './helpers/scratch.js';
import { directory, END, file, hardlink, symlink, tar, type TarEntry } from './helpers/tar.js';

let scratch: string;
inScratchOfItsOwn((made) => {
  scratch = made;
});

const ARCHIVE = tar([directory('d/'), file('d/f', noise(300_000)), file('d/small', 'small'), symlink('l', 'd/f')]);

function pipe(program: string, input: Buffer): Buffer {
  return execFileSync(program, ['-c'], { input, maxBuffer: 64 << 20 });
}

/** Converts what should not be; returns what is said about it. */
function refusal(input: Buffer, ...options: readonly string[]): Report {
  const { status, report } = runConverter(scratch, 'image', input, options);
  expect(status).toBe(1);
  return report;
}

function why(entries: readonly TarEntry[]): string {
  const { error, why: words } = refusal(tar(entries));
  expect(error).toBe('archive');
  return words ?? '';
}

describe('an archive', () => {
  it.each([
    ['not compressed', ARCHIVE],
    ['of gzip', gzipSync(ARCHIVE)],
    ['of several gzip members', Buffer.concat([gzipSync(ARCHIVE.subarray(0, 1000)), gzipSync(ARCHIVE.subarray(1000))])],
    ['of gzip with padding', Buffer.concat([gzipSync(ARCHIVE), Buffer.alloc(10_000)])],
    ['of zstd', pipe('zstd', ARCHIVE)],
    ['of xz', pipe('xz', ARCHIVE)],
    ['of bzip2', pipe('bzip2', ARCHIVE)],
    ['with bytes after its end', Buffer.concat([ARCHIVE, Buffer.alloc(100_000)])],
    ['without blocks of zeros at its end', ARCHIVE.subarray(0, -1024)],
  ])('%s becomes the same image, and is hashed whole', (_, input) => {
    const { status, report, output } = runConverter(scratch, 'image', input);
    const { report: plain } = runConverter(scratch, 'image', ARCHIVE);
    expect(status).toBe(0);
    expect(report).toMatchObject({ entries: 5, bytes: 300_005, blobSize: input.length, digest: plain.digest });
    expect(report.blobDigest).toBe(`sha256:${sha256(input)}`);
    expect(report.digest).toBe(digestOf(output));
    expect(report.size).toBe(statSync(output).size);
  });

  it('has the digest of its uncompressed bytes as its diff id', () => {
    const { report } = runConverter(scratch, 'layer', gzipSync(ARCHIVE));
    expect(report.diffId).toBe(`sha256:${sha256(ARCHIVE)}`);
  });

  it('that is what was announced is taken', () => {
    const input = gzipSync(ARCHIVE);
    const options = ['--blob-digest', `sha256:${sha256(input)}`, '--blob-size', String(input.length)];
    options.push('--diff-id', `sha256:${sha256(ARCHIVE)}`);
    expect(runConverter(scratch, 'image', input, options).status).toBe(0);
  });

  it.each([
    ['another digest', ['--blob-digest', `sha256:${'0'.repeat(64)}`]],
    ['another diff id', ['--diff-id', `sha256:${'0'.repeat(64)}`]],
  ])('with %s than was announced is refused, with both digests', (_, options) => {
    const report = refusal(ARCHIVE, ...options);
    expect(report.error).toBe('digest');
    expect(report.why).toContain(sha256(ARCHIVE));
    expect(report.why).toContain('0'.repeat(64));
  });

  it.each([1, -1])('of another size than was announced is refused (%i)', (difference) => {
    const report = refusal(ARCHIVE, '--blob-size', String(ARCHIVE.length + difference));
    expect(report.error).toBe('digest');
  });

  it('that is damaged on its way is said to be another one, where its digest is known', () => {
    const input = gzipSync(ARCHIVE);
    const damaged = Buffer.from(input);
    damaged[5000] = (damaged[5000] ?? 0) ^ 0x55;
    expect(refusal(damaged).error).toBe('archive');
    expect(refusal(damaged, '--blob-digest', `sha256:${sha256(input)}`).error).toBe('digest');
  });

  it.each([
    ['cut short in its gzip', gzipSync(ARCHIVE).subarray(0, 200_000)],
    ['cut short in its zstd', pipe('zstd', ARCHIVE).subarray(0, 200_000)],
    ['cut short in a file', ARCHIVE.subarray(0, 100_000)],
    ['cut short in a header', ARCHIVE.subarray(0, 700)],
    ['that is none', Buffer.from('this is not an archive, whatever else it is. '.repeat(50))],
    ['of no bytes', Buffer.alloc(0)],
    ['of no entries', END],
    ['with something else after its gzip', Buffer.concat([gzipSync(ARCHIVE), Buffer.from('something else')])],
    ['that goes on after a block of zeros', Buffer.concat([ARCHIVE.subarray(0, -1024), Buffer.alloc(512), ARCHIVE])],
  ])('%s is refused', (_, input) => {
    expect(refusal(input).error).toBe('archive');
  });

  it('of no entries is a layer nevertheless', () => {
    expect(runConverter(scratch, 'layer', gzipSync(END))).toMatchObject({ status: 0, report: { entries: 0 } });
    expect(build(scratch, [ARCHIVE, END]).report.digest).toBe(build(scratch, [ARCHIVE]).report.digest);
  });
});

describe('an image', () => {
  it('is the same, byte for byte, whatever the number of threads', () => {
    const archive = tar(Array.from({ length: 300 }, (_, i) => file(`f${i}`, noise(40_000 + i * 100).subarray(i))));
    const [first, ...others] = ['1', '2', '7', '16'].map((jobs) => {
      const one = runConverter(scratch, 'image', archive, ['--jobs', jobs]).report.digest;
      const layer = runConverter(scratch, 'layer', archive, ['--jobs', jobs]).output;
      return [one, runConverter(scratch, 'assemble', [layer]).report.digest];
    });
    expect(first?.[1]).toBe(first?.[0]);
    expect(others).toEqual([first, first, first]);
  });

  it.each(['4096', '131072', '1048576'])('of any block size holds what the archive holds (%s)', (size) => {
    const content = [0, 1, 4095, 4096, 4097, 131_071, 131_072, 131_073, 2_100_000].map((length, i) => {
      return file(`f${i}`, noise(length));
    });
    const { output } = runConverter(scratch, 'image', tar(content), ['--block-size', size, '--level', '19']);
    const mount = mountImage(scratch, output);
    for (const { name, content: bytes } of content) {
      expect(sha256(readFileSync(join(mount, name.toString())))).toBe(sha256(Buffer.from(bytes ?? '')));
    }
    removeMount(mount);
  });

  it('stores content once, however many files have it', () => {
    const large = noise(1_000_000);
    const one = runConverter(scratch, 'image', tar([file('a', large), file('s', 'small')])).report.size ?? 0;
    const names = Array.from({ length: 20 }, (_, i) => [file(`l${i}`, large), file(`s${i}`, 'small')]).flat();
    const { report, output } = runConverter(scratch, 'image', tar([...names, file('end', noise(200_000))]));
    expect(report.size).toBeLessThan(one + 220_000);
    const mount = mountImage(scratch, output);
    expect(sha256(readFileSync(join(mount, 'l19')))).toBe(sha256(large));
    expect(sha256(readFileSync(join(mount, 'end')))).toBe(sha256(noise(200_000)));
    removeMount(mount);
  });

  it('has nothing of what upper layers removed or replaced', () => {
    const layers = [tar([file('gone', noise(500_000)), file('kept', 'x')]), tar([file('.wh.gone')])];
    expect(build(scratch, layers).report.size).toBeLessThan(10_000);
  });

  it('has no device nodes, and counts the ones that it leaves out', () => {
    const devices = [{ name: 'null', type: '3' }, { name: 'sda', type: '4' }, hardlink('again', 'null'), file('f')];
    const { report, output } = runConverter(scratch, 'image', tar(devices));
    expect(report).toMatchObject({ entries: 2, deviceNodes: 3 });
    const mount = mountImage(scratch, output);
    expect([...list(mount).keys()]).toEqual(['', 'f']);
    removeMount(mount);
  });

  it('has no extended attributes that would steer an overlay, or that belong to another system', () => {
    const pax = Object.fromEntries(
      [
        'trusted.overlay.opaque',
        'user.overlay.whiteout',
        'security.selinux',
        'system.posix_acl_access',
        'user.kept',
      ].map((name) => [`SCHILY.xattr.${name}`, 'y']),
    );
    const { output } = runConverter(scratch, 'image', tar([file('f', 'x', { pax })]));
    const mount = mountImage(scratch, output);
    const dump = execFileSync('getfattr', ['-d', '-m', '-', join(mount, 'f')], { stdio: ['ignore', 'pipe', 'ignore'] });
    removeMount(mount);
    expect(dump.toString().split('\n').slice(1, -2)).toEqual(['user.kept="y"']);
  });

  it.each([
    ['GNU', ['--format=gnu']],
    ['pax 0.0', ['--format=pax', '--sparse-version=0.0']],
    ['pax 0.1', ['--format=pax', '--sparse-version=0.1']],
    ['pax 1.0', ['--format=pax', '--sparse-version=1.0']],
  ])('keeps the holes of sparse files (%s)', (_, format) => {
    const sparse = join(scratch, 'sparse');
    writeFileSync(sparse, 'start');
    for (let at = 1; at < 40; at++) {
      truncateSync(sparse, at * 300_000);
      writeFileSync(sparse, `part ${at}`, { flag: 'a' });
    }
    truncateSync(sparse, 2 ** 40);
    const archive = execFileSync('tar', ['-C', scratch, ...format, '-S', '-c', 'sparse']);
    const { report, output } = runConverter(scratch, 'image', archive);
    expect(report).toMatchObject({ bytes: 2 ** 40 });
    expect(report.size).toBeLessThan(1_000_000);
    const mount = mountImage(scratch, output);
    const start = ['--bytes', '12000000', join(mount, 'sparse'), sparse];
    expect(() => execFileSync('cmp', start)).not.toThrow();
    expect(statSync(join(mount, 'sparse'))).toMatchObject({ size: 2 ** 40 });
    expect(statSync(join(mount, 'sparse')).blocks).toBeLessThan(100_000);
    removeMount(mount);
  });

  it('has directories of a hundred thousand files and a thousand levels', () => {
    const deep = Array.from({ length: 1000 }, (_, i) => directory('d/'.repeat(i + 1)));
    const wide = Array.from({ length: 100_000 }, (_, i) => file(`wide/file-${i}`));
    const { status, output } = runConverter(scratch, 'image', tar([...deep, ...wide]));
    expect(status).toBe(0);
    const mount = mountImage(scratch, output);
    expect(statSync(join(mount, 'wide', 'file-99999')).size).toBe(0);
    expect(statSync(join(mount, 'd/'.repeat(1000))).nlink).toBe(2);
    removeMount(mount);
  }, 60_000);
});

describe('what an image cannot hold is refused by its name', () => {
  it.each<readonly [string, readonly TarEntry[], string]>([
    ['an owner that is none', [file('a/b', '', { uid: 2 ** 32 - 1 })], "entry 'a/b'"],
    ['a negative owner', [file('x', '', { gid: -1 })], "entry 'x'"],
    ['a path of more than 4095 bytes', [file('d/'.repeat(2048) + 'x')], 'is too long'],
    ['a symbolic link to more than 4095 bytes', [symlink('l', 'x'.repeat(4096))], "entry 'l'"],
    ['a symbolic link to nothing', [symlink('l', '')], "entry 'l'"],
    ['a hard link to nothing', [hardlink('h', 'none')], "hard link to 'none'"],
    ['a whiteout of nothing', [file('d/.wh.')], "entry 'd/.wh.'"],
    ['a whiteout of its directory', [file('d/.wh..')], "entry 'd/.wh..'"],
    ['a whiteout of what is above its directory', [file('d/.wh...')], "entry 'd/.wh...'"],
    ['a damaged pax header', [file('x', '', { pax: { path: 'a\0b' } })], 'NUL'],
  ])('%s', (_, entries, words) => {
    expect(why(entries)).toContain(words);
  });

  it('which is safe to print', () => {
    const words = why([hardlink(Buffer.from('\x1b[31m\xff\u202e"\\', 'latin1'), 'none'), file('x')]);
    expect(words).toMatch(/^[\p{L}\p{M}\p{N}\p{P}\p{S}\p{Zs}]+$/u);
    expect(words).toContain('\\x1b[31m\\xff');
    expect(why([hardlink('n/'.repeat(1000), 'none')]).length).toBeLessThan(400);
  });

  it('owners that are more than squashfs can list', () => {
    const entries = Array.from({ length: 40_000 }, (_, i) => file(`f${i}`, '', { uid: i, gid: 100_000 + i }));
    expect(refusal(tar(entries))).toMatchObject({ error: 'limit' });
  });
});

describe('limits', () => {
  const big = tar([file('a', Buffer.alloc(1_000_000)), file('b', Buffer.alloc(1_000_000))]);

  it('bound what an archive unpacks to', () => {
    expect(refusal(gzipSync(big), '--most-bytes', '1999999')).toMatchObject({ error: 'limit' });
    expect(runConverter(scratch, 'image', gzipSync(big), ['--most-bytes', '2000000']).status).toBe(0);
  });

  it('bound the number of entries', () => {
    expect(refusal(ARCHIVE, '--most-entries', '3')).toMatchObject({ error: 'limit' });
    expect(runConverter(scratch, 'image', ARCHIVE, ['--most-entries', '4']).status).toBe(0);
  });

  it('bound what comes after the end of an archive too', () => {
    const bomb = gzipSync(Buffer.concat([ARCHIVE, Buffer.alloc(40 << 20)]));
    expect(refusal(bomb, '--most-bytes', '1000000', '--most-entries', '10')).toMatchObject({ error: 'limit' });
  });

  it('bound holes', () => {
    const pax = { 'GNU.sparse.major': '1', 'GNU.sparse.minor': '0', 'GNU.sparse.realsize': String(2 ** 60) };
    const map = Buffer.concat([Buffer.from('0\n'), Buffer.alloc(510)]);
    expect(refusal(tar([file('holes', map, { pax })]))).toMatchObject({ error: 'limit' });
  });
});

describe('a full disk', () => {
  it.each<'image' | 'layer'>(['image', 'layer'])('is said to be one (%s)', (mode) => {
    const small = join(scratch, 'small');
    mkdirSync(small);
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=1m', 'tmpfs', small]);
    const content = noise(300_000);
    const input = pipe(
      'zstd',
      tar(Array.from({ length: 9 }, (_, i) => file(`f${i}`, Buffer.concat([content, Buffer.of(i)])))),
    );
    const { status, report } = runConverter(small, mode, input);
    removeMount(small);
    expect({ status, report }).toMatchObject({
      status: 1,
      report: { error: 'storage', errno: constants.errno.ENOSPC },
    });
  });
});

describe('the command line', () => {
  it.each<readonly [readonly string[]]>([
    [['--level', '0']],
    [['--level', '23']],
    [['--level', '3x']],
    [['--block-size', '4095']],
    [['--block-size', '12288']],
    [['--jobs', '0']],
    [['--blob-digest', 'sha256:12']],
    [['--blob-digest', 'md5:00']],
    [['--most-bytes', '-1']],
    [['--level']],
    [['--unknown', '1']],
    [['--layer', '3']],
    [['--output', '1']],
    [['--output', '99']],
  ])('is refused with %j', (options) => {
    expect(runConverter(scratch, 'image', ARCHIVE, options).status).toBe(2);
  });
});
