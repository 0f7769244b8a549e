import { chmodSync, chownSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Caller } from './helpers/caller.js';
import { insideOf, USER } from './helpers/container.js';
import { characterDevice, directory, file, link, makeImage, toolbox } from './helpers/images.js';
import { leavesNothing } from './helpers/lifecycle.js';
import { makeScratch, removeScratch } from './helpers/scratch.js';

// Who one is in a container, and what one may do there.

let scratch: string;
let image: string;
let caller: Caller;

beforeAll(async () => {
  scratch = makeScratch();
  image = makeImage(scratch, {
    toolbox: toolbox(),
    'setuid-root': toolbox({ mode: 0o4755 }),
    'setgid-shadow': toolbox({ mode: 0o2755, gid: 42 }),
    'etc/passwd': file('root:x:0:0:::\n'),
    'etc/shadow': file('secret\n', { gid: 42, mode: 0o640 }),
    'home/owned': file('', { uid: 1000, gid: 1001 }),
    'root-only': directory({ mode: 0o700 }),
    'root-only/inside': file('secret\n'),
    'dev/zero': characterDevice(1, 5),
    'tmp/sticky': directory({ mode: 0o1777 }),
    data: directory(),
    'linked-passwd': link('/etc/passwd'),
  });
  caller = await Caller.connect(scratch);
});

afterAll(async () => {
  await caller.close();
  removeScratch(scratch);
});

leavesNothing(() => scratch);

const inside = insideOf(() => ({ scratch, image, caller }));

const { uid, gid, gids } = USER;

describe.each([
  ['with a user namespace', true],
  ['without user namespaces', false],
])('a container %s', (_, userNamespace) => {
  it('shows the user and all groups as they are outside', () =>
    inside({ userNamespace }, async (container) => {
      expect(await container.ask('id')).toBe([uid, uid, gid, gid, ...gids].join(' '));
    }));

  it("shows the image's files with their true owners and modes", () =>
    inside({ userNamespace }, async (container) => {
      expect(
        (await container.ask('stat', '/', '/etc/shadow', '/home/owned', '/tmp/sticky', '/toolbox')).split('\n'),
      ).toEqual(['0 0 40755', '0 42 100640', '1000 1001 100644', '0 0 41777', '0 0 100755']);
    }));

  it("keeps what the image's owners have closed to others", () =>
    inside({ userNamespace }, async (container) => {
      expect((await container.ask('read', '/etc/shadow', '/root-only/inside')).split('\n')).toEqual([
        'EACCES',
        'EACCES',
      ]);
    }));

  it('is read-only, and its user cannot change that', () =>
    inside({ userNamespace }, async (container) => {
      for (const answer of (await container.ask('write', '/new', '/etc/passwd', '/etc/new')).split('\n')) {
        expect(answer).toMatch(/^(EROFS|EACCES)$/);
      }
      expect(await container.ask('write', '/tmp/sticky/new')).toBe('EROFS');
      expect(await container.ask('remount', '/')).toBe('EPERM');
    }));

  it('gains nothing by setuid and setgid files', () =>
    inside({ userNamespace }, async (container) => {
      const identity = [uid, uid, gid, gid, ...gids].join(' ');
      expect(await container.run('/setuid-root', 'id')).toBe(identity);
      expect(await container.run('/setgid-shadow', 'id')).toBe(identity);
      expect(await container.run('/setuid-root', 'read', '/etc/shadow')).toBe('EACCES');
    }));

  it("opens no device node of the image's", () =>
    inside({ userNamespace }, async (container) => {
      expect(await container.ask('open', '/dev/zero')).toBe('EACCES');
    }));

  it('leaves no capability and no way to drop a group', () =>
    inside({ userNamespace, mounts: [{ source: '/proc', destination: '/proc' }] }, async (container) => {
      const status = await container.ask('read', '/proc/self/status');
      for (const set of ['CapInh', 'CapPrm', 'CapEff', 'CapBnd', 'CapAmb'])
        expect(status).toMatch(new RegExp(`^${set}:\t0+$`, 'm'));
      expect(status).toMatch(/^NoNewPrivs:\t1$/m);
      expect(await container.ask('dropgroups')).toBe('EPERM');
    }));

  it("shows nothing of the host's directories but what was mounted", () =>
    inside({ userNamespace }, async (container) => {
      expect((await container.ask('list', '/')).split('\n')).toEqual([
        'data',
        'dev',
        'etc',
        'home',
        'linked-passwd',
        'root-only',
        'setgid-shadow',
        'setuid-root',
        'tmp',
        'toolbox',
      ]);
    }));

  it("writes to a mounted directory with the user's own ids, and reads by supplementary group", async () => {
    const volume = join(scratch, `volume-${userNamespace}`);
    mkdirSync(volume);
    chownSync(volume, uid, gid);
    writeFileSync(join(volume, 'of-the-group'), 'shared\n');
    chownSync(join(volume, 'of-the-group'), 0, gids[0]);
    chmodSync(join(volume, 'of-the-group'), 0o640);
    await inside({ userNamespace, mounts: [{ source: volume, destination: '/data' }] }, async (container) => {
      expect(await container.ask('read', '/data/of-the-group')).toBe('shared');
      expect(await container.ask('write', '/data/new')).toBe('written');
      expect(await container.ask('stat', '/data/new')).toBe(`${uid} ${gid} 100600`);
      expect(await container.ask('write', '/data/of-the-group')).toBe('EACCES');
    });
  });
});

describe('a user without subordinate ids', () => {
  it("sees the image's owners as nobody, and everything else works", () =>
    inside({ subordinate: null }, async (container) => {
      expect(await container.ask('id')).toBe([uid, uid, gid, gid, ...gids].join(' '));
      expect(await container.ask('stat', '/etc/shadow')).toBe('65534 65534 100640');
      expect(await container.ask('read', '/etc/passwd')).toBe('root:x:0:0:::');
      expect(await container.ask('read', '/etc/shadow')).toBe('EACCES');
    }));

  it('gets mounts and files in directories of the image', () =>
    inside(
      {
        subordinate: null,
        mounts: [{ source: scratch, destination: '/data/deep/er' }],
        files: [{ path: '/etc/passwd', content: Buffer.from('me:x:1:1:::\n'), appendImage: true }],
      },
      async (container) => {
        expect(await container.ask('read', '/etc/passwd')).toBe('me:x:1:1:::\nroot:x:0:0:::');
        expect(await container.ask('list', '/data/deep')).toBe('er');
      },
    ));
});

describe('a user with few subordinate ids', () => {
  it("sees the image's owners beyond them as nobody", () =>
    inside({ subordinate: { start: 500_000_000, count: 100 } }, async (container) => {
      expect((await container.ask('stat', '/etc/shadow', '/home/owned')).split('\n')).toEqual([
        '0 42 100640',
        '65534 65534 100644',
      ]);
    }));
});

describe('root', () => {
  it.each([true, false])('runs without privilege in a container of its own (user namespace: %s)', (userNamespace) =>
    inside({ userNamespace, uid: 0, gid: 0, gids: [] }, async (container) => {
      expect(await container.ask('id')).toBe('0 0 0 0');
      expect(await container.ask('open', '/dev/zero')).toBe('EACCES');
      expect(await container.ask('remount', '/')).toBe('EPERM');
      expect(await container.ask('write', '/etc/new')).toBe('EROFS');
    }),
  );
});

describe('a user whose uid does not fit in 16 bits', () => {
  it.each([65_536, 2_000_000_000, 4_294_967_294])('is %d inside, too', (large) =>
    inside({ uid: large, gid: large, gids: [large - 1] }, async (container) => {
      expect(await container.ask('id')).toBe([large, large, large, large, large - 1].join(' '));
      expect(await container.ask('stat', '/etc/shadow')).toBe('0 42 100640');
    }),
  );
});

describe('a user in 400 groups', () => {
  const many = Array.from({ length: 400 }, (_, i) => 80_001 + 3 * i);

  it.each([true, false])(
    'has a container (user namespace: %s), and every group still counts',
    async (userNamespace) => {
      const volume = join(scratch, `groups-${userNamespace}`);
      mkdirSync(volume);
      const last = many.at(-1) ?? 0;
      writeFileSync(join(volume, 'of-the-last'), 'shared\n');
      chownSync(join(volume, 'of-the-last'), 0, last);
      chmodSync(join(volume, 'of-the-last'), 0o640);
      const wish = { userNamespace, gids: many, mounts: [{ source: volume, destination: '/data' }] };
      await inside(wish, async (container) => {
        const [, , primary, , ...groups] = (await container.ask('id')).split(' ').map(Number);
        expect(primary).toBe(gid);
        expect(groups).toHaveLength(400);
        expect(groups).toContain(many[0]);
        expect(await container.ask('read', '/data/of-the-last')).toBe('shared');
      });
    },
  );

  it('that follow each other sees them all, and the true owners', () => {
    const neighbours = Array.from({ length: 400 }, (_, i) => 80_000 + i);
    return inside({ gids: neighbours }, async (container) => {
      expect((await container.ask('id')).split(' ').slice(4).map(Number)).toEqual(neighbours);
      expect(await container.ask('stat', '/etc/shadow')).toBe('0 42 100640');
    });
  });
});

describe('a user whose groups have ids among the subordinate ones', () => {
  it('has a container, in which these groups are themselves', () =>
    inside({ gids: [500_000_500, 500_001_000] }, async (container) => {
      expect((await container.ask('id')).split(' ').slice(4)).toEqual(['500000500', '500001000']);
      expect(await container.ask('stat', '/etc/shadow')).toBe('0 42 100640');
    }));
});
