import { closeSync, openSync, readdirSync, statSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { native } from '../../src/native/index.js';
import { inScratchOfItsOwn } from './helpers/lifecycle.js';
import { Caller } from './helpers/caller.js';
import { mountFile } from './helpers/container.js';
import { file, makeImage } from './helpers/images.js';

let scratch: string;
let image: string;

inScratchOfItsOwn((directory) => {
  scratch = directory;
  image = makeImage(scratch, {
    root: file('', { uid: 0, gid: 0 }),
    shadow: file('', { uid: 0, gid: 42 }),
    user: file('', { uid: 1000, gid: 1001 }),
    nobody: file('', { uid: 65_534, gid: 65_534 }),
  });
});

/** A user namespace with the maps, for the time of `use`. */
async function withUserNamespace(
  uidMap: string,
  gidMap: string,
  use: (user: number) => void | Promise<void>,
): Promise<void> {
  const client = await Caller.connect(scratch, ['unshare', '--user']);
  try {
    native.writeIdMaps(client.pid, client.pidfd, uidMap, gidMap, false);
    const user = native.openNamespace(client.pid, client.pidfd, 'user');
    try {
      await use(user);
    } finally {
      native.close(user);
    }
  } finally {
    await client.close();
  }
}

function owners(mount: number): Record<string, string> {
  const path = `/proc/self/fd/${mount}`;
  return Object.fromEntries(
    readdirSync(path).map((name) => {
      const { uid, gid } = statSync(`${path}/${name}`);
      return [name, `${uid}:${gid}`];
    }),
  );
}

describe("an image mounted with a user namespace's map", () => {
  it("shows its files as the mapped ids, which inside that namespace are the image's own", () =>
    withUserNamespace('0 500000 65536\n', '0 600000 65536\n', async (user) => {
      const mount = await mountFile(image);
      native.idmapMount(mount, user);
      expect(owners(mount)).toEqual({
        root: '500000:600000',
        shadow: '500000:600042',
        user: '501000:601001',
        nobody: '565534:665534',
      });
      native.close(mount);
    }));

  it('shows ids without a mapping as nobody', () =>
    withUserNamespace('0 500000 1000\n', '0 600000 1000\n', async (user) => {
      const mount = await mountFile(image);
      native.idmapMount(mount, user);
      expect(owners(mount)).toMatchObject({ user: '65534:65534', shadow: '500000:600042' });
      native.close(mount);
    }));

  it('leaves another mount of the same image, on the same loop device, as it was', () =>
    withUserNamespace('0 500000 65536\n', '0 600000 65536\n', async (user) => {
      const fd = openSync(image, 'r');
      const plain = await native.mountImage(fd, 'squashfs', -1);
      const mapped = await native.mountImage(fd, 'squashfs', plain.loopIndex);
      closeSync(fd);
      native.idmapMount(mapped.mount, user);
      expect(mapped.loopIndex).toBe(plain.loopIndex);
      expect(owners(plain.mount)['user']).toBe('1000:1001');
      expect(owners(mapped.mount)['user']).toBe('501000:601001');
      native.close(plain.mount);
      native.close(mapped.mount);
    }));

  it('is mapped once and for all', () =>
    withUserNamespace('0 500000 65536\n', '0 600000 65536\n', async (user) => {
      const mount = await mountFile(image);
      native.idmapMount(mount, user);
      expect(() => native.idmapMount(mount, user)).toThrow(
        expect.objectContaining({ code: 'EPERM', syscall: 'mount_setattr', object: 'MOUNT_ATTR_IDMAP' }),
      );
      native.close(mount);
    }));
});

describe('mapping a mount fails', () => {
  it('with what is no user namespace', async () => {
    const mount = await mountFile(image);
    const fd = openSync('/proc/self/ns/mnt', 'r');
    expect(() => native.idmapMount(mount, fd)).toThrow(
      expect.objectContaining({ code: 'EINVAL', syscall: 'mount_setattr' }),
    );
    closeSync(fd);
    native.close(mount);
  });

  it('on what is no mount', () =>
    withUserNamespace('0 500000 65536\n', '0 600000 65536\n', (user) => {
      const fd = openSync('/dev/null', 'r');
      expect(() => native.idmapMount(fd, user)).toThrow(
        expect.objectContaining({ code: 'EINVAL', syscall: 'mount_setattr' }),
      );
      closeSync(fd);
    }));
});
