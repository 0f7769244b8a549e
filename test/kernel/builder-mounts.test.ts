import { execFileSync } from 'node:child_process';
import { chownSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { native } from '../../src/native/index.js';
import { v1 } from '../../src/protocol/index.js';
import { Caller } from './helpers/caller.js';
import { construct, insideOf, mountFile, USER } from './helpers/container.js';
import { characterDevice, directory, file, makeImage, toolbox } from './helpers/images.js';
import { leavesNothing } from './helpers/lifecycle.js';
import { makeScratch, removeMount, removeScratch } from './helpers/scratch.js';

// The kinds of mounts, and how they relate to what the host mounts.

const { KIND_TMPFS, KIND_DESCRIPTOR } = v1.BuildMount.Kind;
const { PROPAGATION_PRIVATE, PROPAGATION_SLAVE } = v1.BuildMount.Propagation;

let scratch: string;
let image: string;
let dataset: string;
let caller: Caller;

beforeAll(async () => {
  scratch = makeScratch();
  image = makeImage(scratch, { toolbox: toolbox() });
  dataset = makeImage(scratch, {
    here: file('the data set\n'),
    'own/x': file('', { uid: USER.uid }),
    zero: characterDevice(1, 5),
    setuid: toolbox({ mode: 0o4755 }),
    place: directory(),
  });
  caller = await Caller.connect(scratch);
});

afterAll(async () => {
  await caller.close();
  removeScratch(scratch);
});

leavesNothing(() => scratch);

const inside = insideOf(() => ({ scratch, image, caller }));

/** Mounts the data set as often as wanted, and hands the mounts on. */
async function withDescriptors(count: number, use: (descriptors: number[]) => Promise<void>): Promise<void> {
  const descriptors: number[] = [];
  try {
    for (let i = 0; i < count; i++) descriptors.push(await mountFile(dataset));
    await use(descriptors);
  } finally {
    for (const fd of descriptors) native.close(fd);
  }
}

/** Two tmpfs of which one is mounted in the other. */
async function withNested(name: string, use: (outer: string) => Promise<void>): Promise<void> {
  const outer = join(scratch, name);
  mkdirSync(outer);
  execFileSync('mount', ['-t', 'tmpfs', '-o', 'mode=1777', 'outer', outer]);
  try {
    mkdirSync(join(outer, 'inner'));
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'mode=1777', 'inner', join(outer, 'inner')]);
    await use(outer);
  } finally {
    execFileSync('umount', ['--recursive', '--lazy', outer]);
  }
}

describe.each([
  ['with a user namespace', true],
  ['without user namespaces', false],
])('%s, a tmpfs', (_, userNamespace) => {
  it("is the user's, empty, and takes no more than its size", () =>
    inside({ userNamespace, mounts: [{ kind: KIND_TMPFS, destination: '/scratch', size: 3 }] }, async (container) => {
      expect(await container.ask('stat', '/scratch')).toBe(`${USER.uid} ${USER.gid} 40755`);
      expect(await container.ask('list', '/scratch')).toBe('');
      expect(await container.ask('fill', '/scratch/big')).toBe('3 ENOSPC');
    }));

  it('may be read-only, or inside another one', () => {
    const mounts = [
      { kind: KIND_TMPFS, destination: '/outer' },
      { kind: KIND_TMPFS, destination: '/outer/inner', readOnly: true },
    ];
    return inside({ userNamespace, mounts }, async (container) => {
      expect(await container.ask('write', '/outer/x', '/outer/inner/x')).toBe('written\nEROFS');
    });
  });

  it('takes no more files than pages: files take memory even when they are empty', () =>
    inside({ userNamespace, mounts: [{ kind: KIND_TMPFS, destination: '/scratch', size: 1 }] }, async (container) => {
      const files = Array.from({ length: 300 }, (__, i) => `/scratch/${i}`);
      const answers = (await container.ask('mkfifo', ...files)).split('\n');
      expect(new Set(answers)).toEqual(new Set(['made', 'ENOSPC']));
      expect(answers.filter((answer) => answer === 'made').length).toBeLessThanOrEqual(256);
    }));
});

describe.each([
  ['with a user namespace', true],
  ['without user namespaces', false],
])('%s, a detached mount of berthd', (_, userNamespace) => {
  const at = (destination: string, options: object = {}): object => ({
    kind: KIND_DESCRIPTOR,
    source: dataset,
    destination,
    ...options,
  });

  it('appears where it belongs; many come in their order', () =>
    withDescriptors(16, async (descriptors) => {
      const mounts = [
        ...Array.from({ length: 14 }, (__, i) => at(`/data${i}`)),
        { source: join(scratch, 'workspace'), destination: '/between' },
        at('/data0/place'),
        at('/last', { readOnly: true }),
      ];
      await inside({ userNamespace, mounts, descriptors }, async (container) => {
        expect(await container.ask('read', '/data0/here', '/data13/here', '/data0/place/here', '/last/here')).toBe(
          Array(4).fill('the data set').join('\n'),
        );
      });
    }));

  it('gives neither device nodes nor setuid files that work', () =>
    withDescriptors(1, (descriptors) =>
      inside({ userNamespace, mounts: [at('/data')], descriptors }, async (container) => {
        expect(await container.ask('open', '/data/zero')).toBe('EACCES');
        expect(await container.run('/data/setuid', 'id')).toMatch(new RegExp(`^${USER.uid} ${USER.uid} `));
      }),
    ));

  it('is missed where fewer come than are wanted', () =>
    withDescriptors(1, async (descriptors) => {
      const wish = { userNamespace, mounts: [at('/one'), at('/two')], descriptors };
      await expect(construct(scratch, image, caller, wish)).rejects.toMatchObject({ code: 'BERTH_BUILD_FAILED' });
    }));
});

describe('a detached mount of berthd, in a container whose user is root', () => {
  it('keeps its attributes: device nodes on it cannot be brought to work', () =>
    withDescriptors(1, (descriptors) => {
      const mounts = [{ kind: KIND_DESCRIPTOR, source: dataset, destination: '/data' }];
      return inside({ root: true, mounts, descriptors }, async (container) => {
        expect(await container.ask('remount', '/data')).toBe('EPERM');
        expect(await container.ask('open', '/data/zero')).toBe('EACCES');
        expect(await container.ask('stat', '/data/own/x')).toBe('0 65534 100644');
      });
    }));
});

describe('a directory with something mounted in it', () => {
  it.each([true, false])('comes with that (user namespace: %s)', (userNamespace) =>
    withNested(`with-${userNamespace}`, (outer) =>
      inside({ userNamespace, mounts: [{ source: outer, destination: '/data' }] }, async (container) => {
        expect(await container.ask('write', '/data/x', '/data/inner/x')).toBe('written\nwritten');
        expect(readFileSync(join(outer, 'inner', 'x'), 'utf8')).toBe('x');
      }),
    ),
  );

  it.each([true, false])(
    'is not brought in without: what lies hidden below would come to light (user namespace: %s)',
    (userNamespace) =>
      withNested(`shallow with blanks ${userNamespace}`, async (outer) => {
        const mounts = [{ source: outer, destination: '/data', shallow: true, checked: true }];
        await expect(construct(scratch, image, caller, { userNamespace, mounts })).rejects.toMatchObject({
          code: 'BERTH_MOUNT_SOURCE',
          why: expect.stringContaining('something is mounted below it') as string,
        });
      }),
  );

  it.each([true, false])(
    'may be brought in alone where nothing is mounted in it (user namespace: %s)',
    (userNamespace) =>
      withNested(`alone-${userNamespace}`, (outer) =>
        inside(
          {
            userNamespace,
            mounts: [{ source: join(outer, 'inner'), destination: '/data', shallow: true, checked: true }],
          },
          async (container) => {
            expect(await container.ask('write', '/data/x')).toBe('written');
          },
        ),
      ),
  );
});

describe.each([true, false])('what the host mounts later (user namespace: %s)', (userNamespace) => {
  it.each([
    ['appears in a slave', PROPAGATION_SLAVE, 'mounted later'],
    ['does not appear in a private mount', PROPAGATION_PRIVATE, 'ENOENT'],
  ])('%s', async (_, propagation, answer) => {
    const shared = join(scratch, `shared-${userNamespace}-${propagation}`);
    mkdirSync(shared);
    execFileSync('mount', ['-t', 'tmpfs', 'shared', shared]);
    execFileSync('mount', ['--make-shared', shared]);
    mkdirSync(join(shared, 'later'));
    chownSync(shared, USER.uid, USER.gid);
    try {
      const mounts = [{ source: shared, destination: '/data', propagation }];
      await inside({ userNamespace, mounts }, async (container) => {
        execFileSync('mount', ['-t', 'tmpfs', 'later', join(shared, 'later')]);
        writeFileSync(join(shared, 'later', 'here'), 'mounted later\n');
        expect(await container.ask('read', '/data/later/here')).toBe(answer);
      });
    } finally {
      removeMount(join(shared, 'later'));
      removeMount(shared);
    }
  });
});
