import { execFileSync } from 'node:child_process';
import {
  chownSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Caller } from './helpers/caller.js';
import { insideOf, SUBORDINATE, USER, type Wish } from './helpers/container.js';
import { directory, file, makeImage, toolbox } from './helpers/images.js';
import { leavesNothing } from './helpers/lifecycle.js';
import { makeScratch, removeScratch } from './helpers/scratch.js';

// Containers that can be written to, and where what is written goes.

let scratch: string;
let image: string;
let caller: Caller;

beforeAll(async () => {
  scratch = makeScratch();
  image = makeImage(scratch, {
    toolbox: toolbox(),
    theirs: directory({ mode: 0o777 }),
    'theirs/file': file('of the image\n', { mode: 0o666 }),
    'theirs/setuid': toolbox({ mode: 0o6777 }),
    'roots/file': file('of the image\n'),
  });
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

/** A directory of the user's. */
function own(name: string): string {
  const path = join(scratch, name);
  mkdirSync(path);
  chownSync(path, USER.uid, USER.gid);
  return path;
}

describe.each([
  ['with a user namespace', true],
  ['without user namespaces', false],
])('%s, a writable container', (_, userNamespace) => {
  it('takes what the permissions in the image let the user write, and forgets it', async () => {
    const wish = { userNamespace, writable: { size: 8 } };
    await inside(wish, async (container) => {
      expect(await container.ask('write', '/theirs/new', '/theirs/file', '/roots/file', '/new')).toBe(
        'written\nwritten\nEACCES\nEACCES',
      );
      expect(await container.ask('read', '/theirs/new', '/theirs/file')).toBe('xxf the image');
      expect(await container.ask('remove', '/theirs/file')).toBe('removed');
      expect(await container.ask('list', '/theirs')).toBe('new\nsetuid');
    });
    await inside(wish, async (container) => {
      expect(await container.ask('list', '/theirs')).toBe('file\nsetuid');
    });
  });

  it('takes no more than its size', () =>
    inside({ userNamespace, writable: { size: 3 } }, async (container) => {
      expect(await container.ask('fill', '/theirs/big')).toMatch(/^[23] ENOSPC$/);
    }));

  it('has its mount points and files all the same', () => {
    const mounts = [{ source: join(scratch, 'workspace'), destination: '/new/place' }];
    const files = [{ path: '/etc/passwd', content: Buffer.from('somebody\n') }];
    return inside({ userNamespace, writable: { size: 8 }, mounts, files }, async (container) => {
      expect(await container.ask('read', '/etc/passwd')).toBe('somebody');
      expect(await container.ask('list', '/new')).toBe('place');
    });
  });

  it('gives setuid files no power, in the image or written', () =>
    inside({ userNamespace, writable: { size: 8 } }, async (container) => {
      expect(await container.run('/theirs/setuid', 'id')).toMatch(new RegExp(`^${USER.uid} ${USER.uid} `));
    }));

  it('is read-only where that is not asked for', () =>
    inside({ userNamespace }, async (container) => {
      expect(await container.ask('write', '/theirs/new')).toBe('EROFS');
    }));
});

describe('what is written into a directory', () => {
  it('stays there, for the next container', async () => {
    const wish = { writable: { directory: own('layer') } };
    await inside(wish, async (container) => {
      expect(await container.ask('write', '/theirs/new')).toBe('written');
      expect(await container.ask('remove', '/theirs/file')).toBe('removed');
    });
    expect(readFileSync(join(scratch, 'layer/upper/theirs/new'), 'utf8')).toBe('x');
    await inside(wish, async (container) => {
      expect(await container.ask('list', '/theirs')).toBe('new\nsetuid');
    });
  });

  it("belongs to the user and their subordinate ids: no setuid file of root's comes to be outside", async () => {
    const layer = own('setuid-layer');
    await inside({ writable: { directory: layer } }, async (container) => {
      expect(await container.ask('openwrite', '/theirs/setuid')).toBe('opened');
    });
    expect(statSync(join(layer, 'upper/theirs/setuid')).uid).toBe(SUBORDINATE.start);
    const owners = execFileSync('find', [layer, '-printf', '%U\n']).toString().trim().split('\n').map(Number);
    for (const uid of owners)
      expect(uid === USER.uid || (uid >= SUBORDINATE.start && uid < SUBORDINATE.start + 65_536)).toBe(true);
  });
});

describe('a directory cannot take what is written', () => {
  it.each([
    ['that is not there', () => join(scratch, 'absent'), 'no such file or directory'],
    ["that is not the user's", () => scratch, 'permission denied'],
    ['that is a file', () => image, 'not a directory'],
  ])('%s', async (_, path, why) => {
    expect(await failure({ writable: { directory: path() } })).toMatchObject({
      code: 'BERTH_WRITABLE_DIRECTORY',
      what: `${path()} cannot take what the container writes`,
      why: expect.stringContaining(why) as string,
    });
  });

  it('that is on a file system which cannot be an upper layer', async () => {
    const place = own('overlay');
    for (const name of ['lower', 'lower2', 'mounted']) mkdirSync(join(place, name));
    const lower = `lowerdir=${join(place, 'lower')}:${join(place, 'lower2')}`;
    execFileSync('mount', ['-t', 'overlay', 'overlay', '-o', lower, join(place, 'mounted')]);
    try {
      expect(await failure({ writable: { directory: join(place, 'mounted') } })).toMatchObject({
        code: 'BERTH_WRITABLE_DIRECTORY',
      });
    } finally {
      execFileSync('umount', [join(place, 'mounted')]);
    }
  });

  it('that the site keeps out of containers, whatever link leads there', async () => {
    const place = own('denied');
    symlinkSync('denied', join(scratch, 'link'));
    const wish = { writable: { directory: join(scratch, 'link') }, deniedSources: [place] };
    expect(await failure(wish)).toMatchObject({
      code: 'BERTH_MOUNT_DENIED',
      why: `${place} is ${place}, which the site keeps out of containers`,
    });
    expect(readdirSync(place)).toEqual([]);
  });

  it('in which a link stands where the layer goes', async () => {
    const place = own('linked');
    const elsewhere = own('elsewhere');
    symlinkSync(elsewhere, join(place, 'upper'));
    expect(await failure({ writable: { directory: place } })).toMatchObject({ code: 'BERTH_WRITABLE_DIRECTORY' });
    expect(readdirSync(elsewhere)).toEqual([]);
  });

  it("without user namespaces: a setuid file of the image's would come to be root's outside", async () => {
    const place = own('rootless');
    expect(await failure({ userNamespace: false, writable: { directory: place } })).toMatchObject({
      code: 'BERTH_WRITABLE_DIRECTORY',
      why: expect.stringContaining('without user namespaces') as string,
    });
    expect(existsSync(join(place, 'upper'))).toBe(false);
    writeFileSync(join(place, 'untouched'), '');
  });
});
