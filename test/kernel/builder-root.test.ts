import { execFileSync } from 'node:child_process';
import { chownSync, mkdirSync, statSync, writeFileSync } from 'node:fs';
import { hostname } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { native } from '../../src/native/index.js';
import { Caller } from './helpers/caller.js';
import { insideOf, SUBORDINATE, USER, type TestContainer, type Wish } from './helpers/container.js';
import { directory, file, makeImage, toolbox } from './helpers/images.js';
import { leavesNothing } from './helpers/lifecycle.js';
import { makeScratch, removeScratch } from './helpers/scratch.js';

// The user as root in a container, and the namespaces a container may have of its own.

let scratch: string;
let image: string;
let caller: Caller;

beforeAll(async () => {
  scratch = makeScratch();
  image = makeImage(scratch, {
    toolbox: toolbox(),
    'etc/passwd': file('root:x:0:0::/root:/bin/sh\n'),
    'etc/shadow': file('root:*:::::::\n', { mode: 0o640, gid: 42 }),
    'srv/www': directory({ uid: 33, gid: 33, mode: 0o700 }),
    'srv/www/page': file('a page\n', { uid: 33, gid: 33, mode: 0o600 }),
    'root/file': file('of root\n', { mode: 0o600 }),
    'var/cache/apt/archives/partial': directory({ uid: 100, mode: 0o700 }),
  });
  for (const name of ['own', 'roots']) mkdirSync(join(scratch, name));
  chownSync(join(scratch, 'own'), USER.uid, USER.gid);
  writeFileSync(join(scratch, 'roots/file'), 'of root\n', { mode: 0o600 });
  caller = await Caller.connect(scratch);
});

afterAll(async () => {
  await caller.close();
  removeScratch(scratch);
});

leavesNothing(() => scratch);

const inside = insideOf(() => ({ scratch, image, caller }));

const PROC = { source: '/proc', destination: '/proc' };

/** A line of /proc/self/status. */
async function statusOf(container: TestContainer, field: string): Promise<string> {
  const status = await container.ask('read', '/proc/self/status');
  return new RegExp(`^${field}:\\s*(.*)$`, 'm').exec(status)?.[1] ?? '';
}

describe('root with subordinate ids', () => {
  const root: Wish = { root: true, writable: { size: 16 } };

  it('is uid 0 and gid 0, and sees the files of the image with their owners', () =>
    inside(root, async (container) => {
      expect(await container.ask('id')).toMatch(/^0 0 0 0/);
      expect(await container.ask('stat', '/root/file', '/srv/www/page', '/etc/shadow')).toBe(
        '0 0 100600\n33 33 100600\n0 42 100640',
      );
    }));

  it('reads, changes, gives away and removes any of them, and makes new ones', () =>
    inside(root, async (container) => {
      expect(await container.ask('read', '/root/file', '/srv/www/page')).toBe('of root\na page');
      expect(await container.ask('write', '/srv/www/new', '/etc/shadow', '/top')).toBe('written\nwritten\nwritten');
      expect(await container.ask('chown', '/root/file')).toBe('changed');
      expect(await container.ask('stat', '/root/file', '/srv/www/new')).toBe('33 33 100600\n0 0 100600');
      expect(await container.ask('remove', '/srv/www/page')).toBe('removed');
    }));

  it('can become another user, as package managers do', () =>
    inside(root, async (container) => {
      expect(await container.ask('become')).toBe('33 33');
    }));

  it('keeps its capabilities in the container, and no more outside than the user has', () =>
    inside(
      {
        ...root,
        mounts: [PROC, ...['own', 'roots'].map((name) => ({ source: join(scratch, name), destination: `/${name}` }))],
      },
      async (container) => {
        expect(await statusOf(container, 'CapEff')).not.toBe('0000000000000000');
        expect(await statusOf(container, 'NoNewPrivs')).toBe('0');
        expect(await container.ask('write', '/own/made', '/roots/made')).toBe('written\nEACCES');
        expect(await container.ask('read', '/roots/file')).toBe('EACCES');
        expect(await container.ask('chown', '/roots/file')).toBe('EPERM');
        expect(await container.ask('mknod', '/own/zero')).toBe('EPERM');
        const { uid, gid } = statSync(join(scratch, 'own/made'));
        expect([uid, gid]).toEqual([USER.uid, USER.gid]);
      },
    ));

  it('gives files of the host to subordinate ids at most', () =>
    inside({ ...root, mounts: [{ source: join(scratch, 'own'), destination: '/own' }] }, async (container) => {
      expect(await container.ask('write', '/own/given')).toBe('written');
      expect(await container.ask('chown', '/own/given')).toBe('changed');
      expect(statSync(join(scratch, 'own/given')).uid).toBe(SUBORDINATE.start + 32);
    }));

  it('needs no writable container', () =>
    inside({ root: true }, async (container) => {
      expect(await container.ask('read', '/root/file')).toBe('of root');
      expect(await container.ask('write', '/root/file')).toBe('EROFS');
    }));
});

describe('root without subordinate ids', () => {
  const root: Wish = { root: true, subordinate: null, writable: { size: 16 } };

  it('is uid 0, and owns what root owns in the image', () =>
    inside(root, async (container) => {
      expect(await container.ask('id')).toMatch(/^0 0 0 0/);
      expect(await container.ask('stat', '/root/file', '/srv/www')).toBe('0 0 100600\n65534 65534 40700');
      expect(await container.ask('write', '/root/file', '/root/new', '/top')).toBe('written\nwritten\nwritten');
    }));

  it('pretends to change owners and identities, and to make device nodes; other nodes it makes', () =>
    inside(root, async (container) => {
      expect(await container.ask('chown', '/root/file')).toBe('changed');
      expect(await container.ask('stat', '/root/file')).toBe('0 0 100600');
      expect(await container.ask('become')).toBe('0 0');
      expect(await container.ask('dropgroups')).toBe('dropped');
      expect(await container.ask('mknod', '/zero')).toBe('made');
      expect(await container.ask('mkfifo', '/fifo')).toBe('made');
      expect(await container.ask('stat', '/zero')).toBe('ENOENT');
      expect(await container.ask('stat', '/fifo')).toBe('0 0 10644');
    }));

  it('drops no group in truth: what a file denies to a group stays denied', () =>
    inside({ ...root, mounts: [PROC] }, async (container) => {
      const groups = await statusOf(container, 'Groups');
      expect(await container.ask('dropgroups')).toBe('dropped');
      expect(await statusOf(container, 'Groups')).toBe(groups);
      expect(groups).toContain('65534');
    }));

  it("can write to what package managers write to although it is not root's in the image", () =>
    inside(root, async (container) => {
      expect(await container.ask('write', '/etc/shadow', '/var/cache/apt/archives/partial/x')).toBe('written\nwritten');
      expect(await container.ask('read', '/etc/shadow')).toBe('xoot:*:::::::');
    }));
});

describe('who is not root', () => {
  it('has no capabilities, and cannot get any', () =>
    inside({ mounts: [PROC] }, async (container) => {
      for (const set of ['CapInh', 'CapPrm', 'CapEff', 'CapBnd', 'CapAmb'])
        expect(await statusOf(container, set)).toBe('0000000000000000');
      expect(await statusOf(container, 'NoNewPrivs')).toBe('1');
    }));
});

describe.each([
  ['with a user namespace', true],
  ['without user namespaces', false],
])('%s, a container of its own', (_, userNamespace) => {
  const namespaceId = (kind: string): number =>
    Number(/\d+/.exec(execFileSync('readlink', [`/proc/self/ns/${kind}`]).toString())?.[0]);

  it('network has a loopback interface that works, and no other', () =>
    inside({ userNamespace, unshare: { network: true }, mounts: [PROC] }, async (container) => {
      expect(await container.ask('loopback')).toBe('connected');
      const devices = await container.ask('read', '/proc/self/net/dev');
      expect(
        devices
          .split('\n')
          .slice(2)
          .map((line) => line.trim().split(':')[0]),
      ).toEqual(['lo']);
    }));

  it.each([
    ['network', { network: true }, ['net']],
    ['IPC', { ipc: true }, ['ipc']],
    ['host name', { hostname: true }, ['uts']],
    ['network, IPC and host name', { network: true, ipc: true, hostname: true }, ['net', 'ipc', 'uts']],
  ])('%s is another namespace than the host has', async (__, unshare, kinds) => {
    await inside({ userNamespace, unshare }, async (container) => {
      const others = container.namespaces.others.map((fd) => native.namespaceId(fd));
      expect(others).toHaveLength(kinds.length);
      kinds.forEach((kind, i) => expect(others[i]).not.toBe(namespaceId(kind)));
      expect(await container.ask('id')).toMatch(new RegExp(`^${USER.uid} `));
    });
  });

  it('without these wishes has none of its own', () =>
    inside({ userNamespace }, (container) => {
      expect(container.namespaces.others).toEqual([]);
      return Promise.resolve();
    }));
});

describe('root of a container with a host name of its own', () => {
  it('may change that, and not the one of the host', async () => {
    const before = hostname();
    await inside({ root: true, unshare: { hostname: true } }, async (container) => {
      expect(await container.ask('sethostname', '/inside')).toBe('renamed');
    });
    await inside({ root: true }, async (container) => {
      expect(await container.ask('sethostname', '/inside')).toBe('EPERM');
    });
    expect(hostname()).toBe(before);
  });
});
