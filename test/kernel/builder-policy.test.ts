import { mkdirSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { v1 } from '../../src/protocol/index.js';
import { Caller } from './helpers/caller.js';
import { construct, insideOf, type Wish } from './helpers/container.js';
import { directory, file, link, makeImage, toolbox, type Tree } from './helpers/images.js';
import { leavesNothing } from './helpers/lifecycle.js';
import { Running } from './helpers/programs.js';
import { makeScratch, removeScratch } from './helpers/scratch.js';

// What a user's mounts may come from, and what they may cover.

let scratch: string;
let image: string;
let caller: Caller;

beforeAll(async () => {
  scratch = makeScratch();
  for (const path of ['data/mine', 'data2', 'secret/deep', 'real']) mkdirSync(join(scratch, path), { recursive: true });
  writeFileSync(join(scratch, 'data/mine/here'), 'mine\n');
  writeFileSync(join(scratch, 'secret/here'), 'secret\n');
  symlinkSync('secret', join(scratch, 'link-to-secret'));
  symlinkSync('real', join(scratch, 'named'));
  image = makeImage(scratch, { toolbox: toolbox(), data: directory(), 'etc/passwd': file('') });
  caller = await Caller.connect(scratch);
});

afterAll(async () => {
  await caller.close();
  removeScratch(scratch);
});

leavesNothing(() => scratch);

const at = (name: string): string => join(scratch, name);

const inside = insideOf(() => ({ scratch, image, caller }));

async function failure(wish: Wish, from = image): Promise<unknown> {
  try {
    await inside(wish, () => Promise.resolve(), { image: from });
  } catch (error) {
    return error;
  }
  throw new Error('the container was built');
}

const mount = (source: string, destination = '/data', options: object = {}): Pick<Wish, 'mounts'> => ({
  mounts: [{ source: at(source), destination, checked: true, ...options }],
});

describe.each([
  ['with a user namespace', true],
  ['without user namespaces', false],
])("%s, a user's mount", (_, userNamespace) => {
  it('comes from anywhere the user may go, unless the site says otherwise', () =>
    inside({ userNamespace, ...mount('data/mine') }, async (container) => {
      expect(await container.ask('read', '/data/here')).toBe('mine');
    }));

  it('comes from below what the site allows', () =>
    inside({ userNamespace, ...mount('data/mine'), allowedSources: [at('real'), at('data/')] }, async (container) => {
      expect(await container.ask('read', '/data/here')).toBe('mine');
    }));

  it.each([
    ['beside it, where the names begin alike', 'data2'],
    ['above it', '.'],
    ['where a link below it leads', 'link-to-secret'],
  ])('does not come from %s', async (__, source) => {
    const wish = { userNamespace, ...mount(source), allowedSources: [at('data'), at('link-to-nothing')] };
    expect(await failure(wish)).toMatchObject({
      code: 'BERTH_MOUNT_DENIED',
      what: `${at(source)}:/data may not be mounted in a container`,
      why: expect.stringMatching(/ is not below what the site lets users mount: .*data, /) as string,
    });
  });

  it.each([
    ['what is denied', 'secret', 'secret is '],
    ['what is below it', 'secret/deep', 'secret/deep is below '],
    ['a link to it', 'link-to-secret', 'secret is '],
    ['what contains it', '.', ' contains '],
  ])('is not %s', async (__, source, why) => {
    expect(await failure({ userNamespace, ...mount(source), deniedSources: [at('secret')] })).toMatchObject({
      code: 'BERTH_MOUNT_DENIED',
      why: expect.stringMatching(new RegExp(`${why}.*secret, which the site keeps out of containers$`)) as string,
    });
  });

  it('is not what is denied by the name of a link to it either', async () => {
    expect(await failure({ userNamespace, ...mount('real'), deniedSources: [at('named')] })).toMatchObject({
      code: 'BERTH_MOUNT_DENIED',
      why: `${at('real')} is ${at('real')}, which the site keeps out of containers`,
    });
  });

  it('is refused although it is optional', async () => {
    const wish = { userNamespace, ...mount('secret', '/data', { optional: true }), deniedSources: [at('secret')] };
    expect(await failure(wish)).toMatchObject({ code: 'BERTH_MOUNT_DENIED' });
  });

  it.each([
    ['a magic link', '/proc/self/root/tmp'],
    ["one of the builder's own descriptors", '/proc/self/fd/3'],
  ])('does not come over %s', async (__, source) => {
    const mounts = [{ source, destination: '/data', checked: true }];
    expect(await failure({ userNamespace, mounts })).toMatchObject({ code: 'BERTH_MOUNT_SOURCE' });
  });

  it("does not limit the site's own", () =>
    inside(
      { userNamespace, mounts: [{ source: at('secret'), destination: '/data' }], deniedSources: [at('secret')] },
      async (container) => {
        expect(await container.ask('read', '/data/here')).toBe('secret');
      },
    ));
});

describe("a user's mount covers", () => {
  const denied: [string, Tree, string, RegExp][] = [
    ['the image as a whole', {}, '/', /the place of the whole image/],
    ['/proc', {}, '/proc', /\/proc is \/proc, which the container needs/],
    ['something in /dev', {}, '/dev/shm', /\/dev\/shm is below \/dev, which/],
    [
      "something beside Berth's own files",
      {},
      '/.berth/bin/shifter',
      /shifter is below \/.berth, which has Berth's own files/,
    ],
    ['where a link leads into /sys', { sys: directory(), trap: link('/sys') }, '/trap/x', /\/sys\/x is below \/sys/],
    ['where the image has its /proc', { proc: link('/real'), real: directory() }, '/real', /\/real is \/real, which/],
    ['a file that Berth writes', { 'etc/passwd': file('') }, '/etc/passwd', /is a file that Berth writes/],
    ['what the site keeps', {}, '/opt/site', /is \/opt\/site, which the site keeps as it is/],
    ['something in it', {}, '/opt/site/lib', /is below \/opt\/site/],
    ['what contains it', {}, '/opt', /\/opt contains \/opt\/site/],
    ['a link to what the site keeps', { 'usr/x': directory(), x: link('/usr/x') }, '/x', /\/usr\/x is \/usr\/x/],
  ];

  it.each(denied)('not %s', async (_, tree, destination, why) => {
    const from = makeImage(scratch, { toolbox: toolbox(), ...tree });
    const wish = {
      ...mount('data/mine', destination),
      deniedDestinations: ['/opt/site', '/x'],
      files: [{ path: '/etc/passwd', content: Buffer.from('') }],
    };
    expect(await failure(wish, from)).toMatchObject({
      code: 'BERTH_MOUNT_DENIED',
      what: `${at('data/mine')}:${destination} may not be mounted in a container`,
      why: expect.stringMatching(why) as string,
    });
    const tmpfs = { kind: v1.BuildMount.Kind.KIND_TMPFS, destination, checked: true };
    expect(await failure({ ...wish, mounts: [tmpfs] }, from)).toMatchObject({ code: 'BERTH_MOUNT_DENIED' });
  });

  it('not what lies beside that and only begins alike, nor the directory of a file that Berth writes', async () => {
    for (const destination of ['/proceed', '/opt2', '/opt/site2', '/etc'])
      await inside({ ...mount('data/mine', destination), deniedDestinations: ['/opt/site'] }, async (container) => {
        expect(await container.ask('read', `${destination}/here`)).toBe('mine');
      });
  });
});

describe('a source that is swapped for a link while containers are built', () => {
  it.each([true, false])('never leads to what is denied (user namespace: %s)', { timeout: 60_000 }, async (on) => {
    const bait = at(`bait-${on}`);
    mkdirSync(bait);
    writeFileSync(join(bait, 'here'), 'bait\n');
    symlinkSync(at('secret'), at(`trap-${on}`));
    // The name is a directory, then a link, by turns: renameat2(2) swaps the two.
    const swap = await Running.start('python3', '-c', SWAP, bait, at(`trap-${on}`));
    const met = { bait: 0, denied: 0 };
    try {
      for (let round = 0; round < 150; round++) {
        try {
          await inside(
            { userNamespace: on, ...mount(`bait-${on}`), deniedSources: [at('secret')] },
            async (container) => {
              expect(await container.ask('read', '/data/here')).toBe('bait');
              met.bait++;
            },
          );
        } catch (error) {
          expect(error).toMatchObject({ code: 'BERTH_MOUNT_DENIED' });
          met.denied++;
        }
      }
    } finally {
      await swap.stop('SIGKILL');
    }
    expect(met.bait).toBeGreaterThan(10);
    expect(met.denied).toBeGreaterThan(10);
  });
});

describe('the caller', () => {
  it('without a /proc to ask for names has no mounts of users', async () => {
    const setup = `mount -t tmpfs none /proc && exec "$0" "$@"`;
    const odd = await Caller.connect(scratch, ['unshare', '--mount', '--propagation', 'private', 'sh', '-c', setup]);
    try {
      await expect(construct(scratch, image, odd, mount('data/mine'))).rejects.toMatchObject({
        why: expect.stringMatching(/\/proc/) as string,
      });
    } finally {
      await odd.close();
    }
  });
});

/** Exchanges two names as fast as it can: AT_FDCWD is -100, RENAME_EXCHANGE 2. */
const SWAP = `
import ctypes, sys
exchange = ctypes.CDLL(None).renameat2
a, b = (name.encode() for name in sys.argv[1:3])
while True:
    exchange(-100, a, -100, b, 2)
`;
