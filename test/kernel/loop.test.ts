import { randomBytes } from 'node:crypto';
import {
  copyFileSync,
  closeSync,
  openSync,
  readFileSync,
  statSync,
  truncateSync,
  unlinkSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { native, type ImageMount } from '../../src/native/index.js';
import { file, makeImage } from './helpers/images.js';
import { closesOnExec, loopsOn } from './helpers/residue.js';
import { inScratchOfItsOwn } from './helpers/lifecycle.js';

let scratch: string;
let image: string;

inScratchOfItsOwn((directory) => {
  scratch = directory;
  image = makeImage(scratch, {
    'etc/os-release': file('ID=test\n'),
    noise: file(randomBytes(150_000).toString('hex')),
  });
});

async function mountFile(path: string, candidate = -1): Promise<ImageMount> {
  const fd = openSync(path, 'r');
  try {
    return await native.mountImage(fd, 'squashfs', candidate);
  } finally {
    closeSync(fd);
  }
}

function attribute(index: number, name: string): string {
  return readFileSync(`/sys/block/loop${index}/${name}`, 'utf8').trim();
}

describe('mounting an image', () => {
  it('gives a detached mount that closes on exec, on a read-only loop device that ends with it', async () => {
    const { mount, loopIndex, loopMicroseconds, mountMicroseconds } = await mountFile(image);
    expect(closesOnExec(mount)).toBe(true);
    expect(readFileSync(`/proc/self/fd/${mount}/etc/os-release`, 'utf8')).toBe('ID=test\n');
    expect(loopsOn(scratch)).toEqual([`loop${loopIndex}`]);
    expect(attribute(loopIndex, 'ro')).toBe('1');
    expect(attribute(loopIndex, 'loop/autoclear')).toBe('1');
    expect(loopMicroseconds).toBeGreaterThan(0);
    expect(mountMicroseconds).toBeGreaterThan(0);
    native.close(mount);
  });

  it('needs the file only while it mounts: its name may go away', async () => {
    const { mount } = await mountFile(image);
    unlinkSync(image);
    expect(readFileSync(`/proc/self/fd/${mount}/etc/os-release`, 'utf8')).toBe('ID=test\n');
    native.close(mount);
  });

  it('cannot be written to, not even by root', async () => {
    const { mount } = await mountFile(image);
    expect(() => writeFileSync(`/proc/self/fd/${mount}/new`, '')).toThrow(/EROFS/);
    native.close(mount);
  });
});

describe('two mounts of one image', () => {
  it('share a loop device and so the cache, where the second names it; the device ends with the last', async () => {
    const first = await mountFile(image);
    const second = await mountFile(image, first.loopIndex);
    expect(second.loopIndex).toBe(first.loopIndex);
    expect(statSync(`/proc/self/fd/${second.mount}/noise`).dev).toBe(
      statSync(`/proc/self/fd/${first.mount}/noise`).dev,
    );
    native.close(first.mount);
    expect(readFileSync(`/proc/self/fd/${second.mount}/etc/os-release`, 'utf8')).toBe('ID=test\n');
    expect(loopsOn(scratch)).toEqual([`loop${first.loopIndex}`]);
    native.close(second.mount);
  });

  it('do not share it where the candidate serves another file, even one of the same content', async () => {
    const other = join(scratch, 'copy.squashfs');
    copyFileSync(image, other);
    const first = await mountFile(image);
    const second = await mountFile(other, first.loopIndex);
    expect(second.loopIndex).not.toBe(first.loopIndex);
    native.close(first.mount);
    native.close(second.mount);
  });

  it.each([0, 4095, 1_000_000, 2 ** 31 - 1])(
    'take a device of their own where loop%d serves nothing of theirs',
    async (candidate) => {
      const { mount, loopIndex } = await mountFile(image, candidate);
      expect(loopsOn(scratch)).toEqual([`loop${loopIndex}`]);
      native.close(mount);
    },
  );

  it('at the same moment each get a device', async () => {
    const mounts = await Promise.all(Array.from({ length: 16 }, () => mountFile(image)));
    expect(new Set(mounts.map(({ loopIndex }) => loopIndex)).size).toBe(16);
    for (const { mount } of mounts) native.close(mount);
  });
});

describe('an image that cannot be mounted gives an error that names the call, and leaves no loop device:', () => {
  it('garbage', async () => {
    const garbage = join(scratch, 'garbage');
    writeFileSync(garbage, Buffer.alloc(65_536, 'garbage'));
    await expect(mountFile(garbage)).rejects.toMatchObject({
      code: 'EINVAL',
      syscall: 'fsconfig',
      object: expect.stringMatching(/magic|squashfs/i) as string,
    });
  });

  it('an empty file', async () => {
    const empty = join(scratch, 'empty');
    writeFileSync(empty, '');
    await expect(mountFile(empty)).rejects.toMatchObject({
      code: expect.stringMatching(/^E/) as string,
      syscall: 'fsconfig',
    });
  });

  it.each([0.2, 0.5, 0.9])('a squashfs cut to %d of its length', async (part) => {
    const { size } = statSync(image);
    truncateSync(image, Math.floor(size * part));
    await expect(mountFile(image)).rejects.toMatchObject({
      code: expect.stringMatching(/^E/) as string,
      syscall: 'fsconfig',
    });
  });

  it('a file system the kernel does not have', async () => {
    const fd = openSync(image, 'r');
    const wrong = 'no-such-filesystem' as 'squashfs';
    await expect(native.mountImage(fd, wrong, -1)).rejects.toMatchObject({
      name: 'Error',
      code: 'ENODEV',
      syscall: 'fsopen',
      object: 'no-such-filesystem',
      errno: 19,
    });
    closeSync(fd);
  });

  it('a squashfs that is said to be an erofs', async () => {
    const fd = openSync(image, 'r');
    await expect(native.mountImage(fd, 'erofs', -1)).rejects.toMatchObject({ syscall: 'fsconfig' });
    closeSync(fd);
  });

  it('a descriptor that is not open', async () => {
    await expect(native.mountImage(99_999, 'squashfs', -1)).rejects.toMatchObject({
      code: 'EBADF',
      syscall: 'fstat',
      object: 'image file',
    });
  });

  it('a directory', async () => {
    await expect(mountFile(scratch)).rejects.toMatchObject({ syscall: 'ioctl LOOP_CONFIGURE' });
  });
});

describe('damage behind an intact superblock', () => {
  it('shows as an error of the read alone', async () => {
    const compressed = makeImage(scratch, { noise: file(randomBytes(150_000).toString('hex')) }, {}, true);
    const bytes = readFileSync(compressed);
    // squashfs: the data blocks follow the superblock of 96 bytes.
    bytes.fill(0xff, 96, 4096);
    writeFileSync(compressed, bytes);
    const { mount } = await mountFile(compressed);
    expect(() => readFileSync(`/proc/self/fd/${mount}/noise`)).toThrow(/EIO/);
    native.close(mount);
  });
});
