import { execFileSync } from 'node:child_process';
import { chmodSync, chownSync, mkdirSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Caller } from './helpers/caller.js';
import { insideOf, USER, type Wish } from './helpers/container.js';
import { makeImage, toolbox } from './helpers/images.js';
import { leavesNothing } from './helpers/lifecycle.js';
import { makeScratch, removeScratch } from './helpers/scratch.js';

// What is brought into a container from the host, and with whose rights.

let scratch: string;
let image: string;
let caller: Caller;

beforeAll(async () => {
  scratch = makeScratch();
  image = makeImage(scratch, { toolbox: toolbox() });
  for (const path of ['private', 'private/inside', 'open', 'own']) mkdirSync(join(scratch, path));
  writeFileSync(join(scratch, 'private', 'inside', 'secret'), 'secret\n');
  chmodSync(join(scratch, 'private'), 0o700);
  writeFileSync(join(scratch, 'open', 'here'), 'the host\n');
  chownSync(join(scratch, 'own'), USER.uid, USER.gid);
  chmodSync(join(scratch, 'own'), 0o700);
  symlinkSync('private/inside', join(scratch, 'link-to-private'));
  symlinkSync('open', join(scratch, 'link-to-open'));
  caller = await Caller.connect(scratch);
});

afterAll(async () => {
  await caller.close();
  removeScratch(scratch);
});

leavesNothing(() => scratch);

const inside = insideOf(() => ({ scratch, image, caller }));

async function failure(wish: Wish): Promise<unknown> {
  try {
    await inside(wish, () => Promise.resolve());
  } catch (error) {
    return error;
  }
  throw new Error('the container was built');
}

describe.each([
  ['with a user namespace', true],
  ['without user namespaces', false],
])('%s, a mount source', (_, userNamespace) => {
  const mount = (name: string, options: object = {}): Wish => ({
    userNamespace,
    mounts: [{ source: join(scratch, name), destination: '/data', ...options }],
  });

  it('is opened with the rights of the user', () =>
    inside(mount('own'), async (container) => {
      expect(await container.ask('write', '/data/new')).toBe('written');
    }));

  it('may be a link, which is followed with the rights of the user', () =>
    inside(mount('link-to-open'), async (container) => {
      expect(await container.ask('read', '/data/here')).toBe('the host');
    }));

  it.each([
    ['is not there', 'absent', 'no such file or directory'],
    ['is in a directory that the user may not enter', 'private/inside', 'permission denied'],
    ['is a link into such a directory', 'link-to-private', 'permission denied'],
    ['is below a file', 'open/here/below', 'not a directory'],
  ])('that %s gives an error that names it', async (__, name, errno) => {
    expect(await failure(mount(name))).toMatchObject({
      code: 'BERTH_MOUNT_SOURCE',
      what: expect.stringContaining(join(scratch, name)) as string,
      why: `open_tree: ${join(scratch, name)}: ${errno}`,
    });
  });

  it.each(['absent', 'private/inside', 'link-to-private', 'open/here/below'])(
    'that is optional is left out, with its mount point: %s',
    (name) =>
      inside(mount(name, { optional: true }), async (container) => {
        expect(await container.ask('list', '/')).toBe('toolbox');
      }),
  );

  it('that only root may read is no more open inside than outside', () =>
    inside(mount('private'), async (container) => {
      expect(await container.ask('list', '/data')).toBe('EACCES');
      expect(await container.ask('read', '/data/inside/secret')).toBe('EACCES');
    }));

  it('that is read-only is so for everything that is mounted below it', async () => {
    const outer = join(scratch, `outer-${userNamespace}`);
    mkdirSync(join(outer, 'inner'), { recursive: true });
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'mode=1777', 'outer', outer]);
    mkdirSync(join(outer, 'inner'));
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'mode=1777', 'inner', join(outer, 'inner')]);
    try {
      const mounts = [
        { source: outer, destination: '/ro', readOnly: true },
        { source: outer, destination: '/rw' },
      ];
      await inside({ userNamespace, mounts }, async (container) => {
        expect(await container.ask('write', '/ro/x', '/ro/inner/x')).toBe('EROFS\nEROFS');
        expect(await container.ask('remount', '/ro')).toBe('EPERM');
        expect(await container.ask('write', '/rw/x', '/rw/inner/x')).toBe('written\nwritten');
      });
    } finally {
      execFileSync('umount', ['-R', outer]);
    }
  });

  it('makes neither setuid files nor device nodes work that lie on it, unless it is /dev', async () => {
    const volume = join(scratch, `special-${userNamespace}`);
    mkdirSync(volume);
    toolbox({ mode: 0o4755 })(join(volume, 'setuid-root'));
    execFileSync('mknod', ['-m', '666', join(volume, 'zero'), 'c', '1', '5']);
    const mounts = [
      { source: volume, destination: '/data' },
      { source: '/dev', destination: '/dev', devices: true },
    ];
    await inside({ userNamespace, mounts }, async (container) => {
      expect(await container.run('/data/setuid-root', 'id')).toMatch(new RegExp(`^${USER.uid} ${USER.uid} `));
      expect(await container.ask('open', '/data/zero', '/dev/zero')).toBe('EACCES\nopened');
    });
  });
});

describe('the directories that are mounted', () => {
  it("are those of the caller's mount namespace: a job with a /tmp of its own has no other job's", async () => {
    const setup = `mount -t tmpfs -o mode=1777 job ${scratch}/open && echo "the job" >${scratch}/open/here && exec "$0" "$@"`;
    const job = await Caller.connect(scratch, ['unshare', '--mount', '--propagation', 'private', 'sh', '-c', setup]);
    try {
      const mounts = [{ source: join(scratch, 'open'), destination: '/data' }];
      for (const userNamespace of [true, false]) {
        await inside(
          { userNamespace, mounts },
          async (container) => {
            expect(await container.ask('read', '/data/here')).toBe('the job');
          },
          { caller: job },
        );
        await inside({ userNamespace, mounts }, async (container) => {
          expect(await container.ask('read', '/data/here')).toBe('the host');
        });
      }
    } finally {
      await job.close();
    }
  });

  it.each([true, false])(
    'receive what the host mounts later, and send nothing back (user namespace: %s)',
    async (userNamespace) => {
      const shared = join(scratch, `shared-${userNamespace}`);
      mkdirSync(shared);
      execFileSync('mount', ['-t', 'tmpfs', 'shared', shared]);
      execFileSync('mount', ['--make-shared', shared]);
      mkdirSync(join(shared, 'later'));
      try {
        await inside({ userNamespace, mounts: [{ source: shared, destination: '/data' }] }, async (container) => {
          execFileSync('mount', ['-t', 'tmpfs', 'later', join(shared, 'later')]);
          writeFileSync(join(shared, 'later', 'here'), 'mounted later\n');
          expect(await container.ask('read', '/data/later/here')).toBe('mounted later');
        });
      } finally {
        execFileSync('umount', ['-R', shared]);
      }
    },
  );
});
