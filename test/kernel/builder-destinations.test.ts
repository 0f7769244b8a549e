import { chownSync, existsSync, mkdirSync, readdirSync, rmSync, statSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { Caller } from './helpers/caller.js';
import { construct, USER, type TestContainer, type Wish } from './helpers/container.js';
import { directory, fifo, file, link, makeImage, toolbox, type Tree } from './helpers/images.js';
import { Running } from './helpers/programs.js';
import { leavesNothing } from './helpers/lifecycle.js';
import { makeScratch, removeScratch } from './helpers/scratch.js';

// Where mounts and files go in an image that may be anything at all.

let scratch: string;
let volume: string;
let caller: Caller;

beforeAll(async () => {
  scratch = makeScratch();
  volume = join(scratch, 'volume');
  mkdirSync(volume);
  writeFileSync(join(volume, 'here'), 'the volume\n');
  caller = await Caller.connect(scratch);
});

afterAll(async () => {
  await caller.close();
  removeScratch(scratch);
});

leavesNothing(() => scratch);

afterEach(() => {
  // Nothing was made in the host's directories.
  expect(readdirSync(join(scratch, 'workspace'))).toEqual([]);
  expect(readdirSync(volume)).toEqual(['here']);
});

async function inside(tree: Tree, wish: Wish, use: (container: TestContainer) => Promise<void>): Promise<void> {
  const container = await construct(scratch, makeImage(scratch, { toolbox: toolbox(), ...tree }), caller, wish);
  try {
    await use(container);
  } finally {
    container.close();
  }
}

async function failure(tree: Tree, wish: Wish): Promise<unknown> {
  try {
    await inside(tree, wish, () => Promise.resolve());
  } catch (error) {
    return error;
  }
  throw new Error('the container was built');
}

function volumeAt(destination: string): Pick<Wish, 'mounts'> {
  return { mounts: [{ source: volume, destination }] };
}

describe.each([
  ['with a user namespace', true],
  ['without user namespaces', false],
])('%s, a mount goes to', (_, userNamespace) => {
  const linked: [string, Tree, string, string][] = [
    ['a directory of the image', { 'data/below': directory() }, '/data', '/data'],
    ['a place that the image lacks', {}, '/new/deep/er', '/new/deep/er'],
    [
      'where an absolute link leads, inside the image',
      { 'real/x': directory(), data: link('/real') },
      '/data',
      '/real',
    ],
    ['below where a link leads', { real: directory(), data: link('/real') }, '/data/new', '/real/new'],
    ['where a relative link leads', { 'a/b': directory(), 'c/data': link('../a/b') }, '/c/data', '/a/b'],
    [
      'where links lead over links',
      { real: directory(), one: link('two'), two: link('/three'), three: link('real') },
      '/one',
      '/real',
    ],
    [
      'the image, however far dot-dot leads up',
      { etc: directory(), data: link('../../../../../../etc') },
      '/data',
      '/etc',
    ],
    ['the image, where a link leads to its root', { data: link('/'), x: directory() }, '/data/x', '/x'],
    ['its own name, where a link dangles', { data: link('/nowhere/at/all') }, '/data', '/data'],
    [
      'its own name, where a link leads into the host',
      { data: link('../../../../tmp/no-such-thing') },
      '/data',
      '/data',
    ],
    [
      'its own name, where a link leads to what only a mounted /proc would have',
      { data: link('/proc/self/root') },
      '/data',
      '/data',
    ],
  ];

  it.each(linked)('%s', async (__, tree, destination, place) => {
    await inside(tree, { userNamespace, ...volumeAt(destination) }, async (container) => {
      expect(await container.ask('read', `${place}/here`)).toBe('the volume');
    });
  });

  it('a link in a directory that is no longer there once something was mounted over it', async () => {
    const mounts = [
      { source: volume, destination: '/data' },
      { source: '/proc', destination: '/proc' },
    ];
    await inside({ data: link('/proc/1/root'), proc: directory() }, { userNamespace, mounts }, async (container) => {
      expect(await container.ask('read', '/data/here')).toBe('the volume');
    });
  });

  it('the place of a file, where the source is a file', async () => {
    const mounts = [
      { source: join(volume, 'here'), destination: '/etc/file' },
      { source: join(volume, 'here'), destination: '/new/file' },
    ];
    await inside({ 'etc/file': file('the image\n') }, { userNamespace, mounts }, async (container) => {
      expect((await container.ask('read', '/etc/file', '/new/file')).split('\n')).toEqual(['the volume', 'the volume']);
    });
  });

  it('nowhere else: what is beside it stays as the image has it', async () => {
    const tree = {
      'data/beside': file('the image\n'),
      'data/target/hidden': file(''),
      'data/locked': directory({ mode: 0o700, uid: 5, gid: 6 }),
    };
    await inside(tree, { userNamespace, ...volumeAt('/data/target') }, async (container) => {
      expect(await container.ask('list', '/data')).toBe('beside\nlocked\ntarget');
      expect(await container.ask('list', '/data/target')).toBe('here');
      expect(await container.ask('read', '/data/beside')).toBe('the image');
      expect(await container.ask('stat', '/data/locked')).toBe('5 6 40700');
    });
  });

  it('a directory that keeps its owner and mode when a mount point is made in it', async () => {
    const tree = { open: directory({ mode: 0o1775, uid: 7, gid: 8 }) };
    await inside(tree, { userNamespace, ...volumeAt('/open/new') }, async (container) => {
      expect(await container.ask('stat', '/open')).toBe('7 8 41775');
    });
  });

  const impossible: [string, Tree, string, string][] = [
    ['links that lead in a circle', { data: link('/other'), other: link('/data') }, '/data', 'too many symbolic links'],
    ['below a file', { data: file('') }, '/data/below', 'not a directory'],
    ['below a link to a file', { data: link('/file'), file: file('') }, '/data/below', 'not a directory'],
    ['a file, where the source is a directory', { data: file('') }, '/data', 'not a directory'],
  ];

  it.each(impossible)('no place at all: %s', async (__, tree, destination, errno) => {
    expect(await failure(tree, { userNamespace, ...volumeAt(destination) })).toMatchObject({
      code: 'BERTH_MOUNT_DESTINATION',
      what: expect.stringContaining(destination) as string,
      why: expect.stringContaining(errno) as string,
    });
  });

  it.each(['/new/../../../../escaped', '/new/../escaped', '/new/./x/..', 'data', ''])(
    'no place at all: %s',
    async (destination) => {
      expect(await failure({}, { userNamespace, ...volumeAt(destination) })).toMatchObject({
        code: 'BERTH_MOUNT_DESTINATION',
      });
      expect(existsSync(join(scratch, 'escaped'))).toBe(false);
      expect(existsSync('/escaped')).toBe(false);
    },
  );
});

describe('a link with dot-dot', () => {
  it('is followed although others rename and mount all the time, which makes the kernel ask to try again', async () => {
    mkdirSync(join(scratch, 'a'));
    const script = `const [, a, b] = process.argv; for (;;) { fs.renameSync(a, b); fs.renameSync(b, a); }`;
    const others = await Running.start(process.execPath, '-e', script, join(scratch, 'a'), join(scratch, 'b'));
    try {
      const image = makeImage(scratch, {
        toolbox: toolbox(),
        'x/y/data': link('../../a/../a/../a/../real'),
        a: directory(),
        real: directory(),
      });
      for (let round = 0; round < 20; round++) {
        const container = await construct(scratch, image, caller, volumeAt('/x/y/data'));
        container.close();
      }
    } finally {
      await others.stop('SIGKILL');
    }
  });
});

describe('mounts below mounts', () => {
  it('are put into what was mounted above, where that has the place', async () => {
    mkdirSync(join(scratch, 'outer', 'inner'), { recursive: true });
    const mounts = [
      { source: join(scratch, 'outer'), destination: '/data' },
      { source: volume, destination: '/data/inner' },
    ];
    await inside({}, { mounts }, async (container) => {
      expect(await container.ask('read', '/data/inner/here')).toBe('the volume');
    });
  });

  it('have their place made there, with the rights of the user', async () => {
    const own = join(scratch, 'own');
    mkdirSync(own);
    chownSync(own, USER.uid, USER.gid);
    const mounts = [
      { source: own, destination: '/data' },
      { source: volume, destination: '/data/in/ner' },
      { source: join(volume, 'here'), destination: '/data/file' },
    ];
    for (const userNamespace of [true, false]) {
      await inside({}, { userNamespace, mounts }, async (container) => {
        expect(await container.ask('read', '/data/in/ner/here', '/data/file')).toBe('the volume\nthe volume');
      });
      expect(readdirSync(own)).toEqual(['file', 'in']);
      for (const name of ['file', 'in', 'in/ner']) {
        const { uid, gid } = statSync(join(own, name));
        expect([uid, gid]).toEqual([USER.uid, USER.gid]);
      }
      for (const name of readdirSync(own)) rmSync(join(own, name), { recursive: true });
    }
  });

  it.each([
    ['where the user may not make it', false, 'permission denied'],
    ['where what was mounted is read-only', true, 'read-only file system'],
  ])('are refused %s', async (_, own, why) => {
    const bare = join(scratch, `bare-${own}`);
    mkdirSync(bare);
    if (own) chownSync(bare, USER.uid, USER.gid);
    for (const userNamespace of [true, false]) {
      const mounts = [
        { source: bare, destination: '/data', readOnly: own },
        { source: volume, destination: '/data/inner' },
      ];
      expect(await failure({}, { userNamespace, mounts })).toMatchObject({
        code: 'BERTH_MOUNT_DESTINATION',
        what: expect.stringContaining('/data/inner') as string,
        why: `mkdir: /data/inner: ${why}`,
      });
      expect(readdirSync(bare)).toEqual([]);
    }
  });

  it('are put below it even where the image has a link of that name', async () => {
    const outer = join(scratch, 'hiding');
    mkdirSync(join(outer, 'inner'), { recursive: true });
    const mounts = [
      { source: outer, destination: '/data' },
      { source: volume, destination: '/data/inner' },
    ];
    await inside({ 'data/inner': link('/etc'), etc: directory() }, { mounts }, async (container) => {
      expect(await container.ask('read', '/data/inner/here')).toBe('the volume');
      expect(await container.ask('list', '/etc')).toBe('');
    });
  });

  it('cannot be written with dot-dot', async () => {
    const mounts = [
      { source: volume, destination: '/data' },
      { source: volume, destination: '/data/../etc' },
    ];
    expect(await failure({ etc: directory() }, { mounts })).toMatchObject({ code: 'BERTH_MOUNT_DESTINATION' });
  });

  it('follow no link that somebody has put into a mounted directory', async () => {
    mkdirSync(join(scratch, 'tricky'));
    symlinkSync('/etc', join(scratch, 'tricky', 'inner'));
    const mounts = [
      { source: join(scratch, 'tricky'), destination: '/data' },
      { source: volume, destination: '/data/inner' },
    ];
    expect(await failure({}, { mounts })).toMatchObject({
      code: 'BERTH_MOUNT_DESTINATION',
      why: expect.stringContaining('not a directory') as string,
    });
  });
});

describe('the workspace', () => {
  it('may be reached over a symbolic link, as /var/run is one', async () => {
    mkdirSync(join(scratch, 'run', 'workspace'), { recursive: true });
    symlinkSync('run', join(scratch, 'linked-run'));
    await inside(
      {},
      { ...volumeAt('/data'), workspace: join(scratch, 'linked-run', 'workspace') },
      async (container) => {
        expect(await container.ask('read', '/data/here')).toBe('the volume');
      },
    );
  });
});

describe.each([
  ['with a user namespace', true],
  ['without user namespaces', false],
])('%s, files that Berth writes', (_, userNamespace) => {
  const passwd = { path: '/etc/passwd', content: Buffer.from('me:x:1:1:::\n'), appendImage: true };

  it("come before the image's own lines, and the image's other files stay", async () => {
    const tree = { 'etc/passwd': file('root:x:0:0:::\n'), 'etc/hostname': file('image\n') };
    await inside(tree, { userNamespace, files: [passwd] }, async (container) => {
      expect(await container.ask('read', '/etc/passwd')).toBe('me:x:1:1:::\nroot:x:0:0:::');
      expect(await container.ask('read', '/etc/hostname')).toBe('image');
      expect(await container.ask('stat', '/etc/passwd')).toMatch(/ 100644$/);
    });
  });

  it("replace the image's own where that is not wanted", async () => {
    const hosts = { path: '/etc/hosts', content: Buffer.from('127.0.0.1 localhost\n') };
    await inside({ 'etc/hosts': file('the image\n') }, { userNamespace, files: [hosts] }, async (container) => {
      expect(await container.ask('read', '/etc/hosts')).toBe('127.0.0.1 localhost');
    });
  });

  it('are in an image without /etc', async () => {
    await inside({}, { userNamespace, files: [passwd] }, async (container) => {
      expect(await container.ask('read', '/etc/passwd')).toBe('me:x:1:1:::');
    });
  });

  it('stand in for a link to what the image lacks, as /etc/resolv.conf often is one', async () => {
    const resolver = { path: '/etc/resolv.conf', content: Buffer.from('nameserver 127.0.0.1\n') };
    const tree = { 'etc/resolv.conf': link('../run/systemd/resolve/stub-resolv.conf') };
    await inside(tree, { userNamespace, files: [resolver] }, async (container) => {
      expect(await container.ask('read', '/etc/resolv.conf')).toBe('nameserver 127.0.0.1');
    });
  });

  it("never hold a file of the host's that a link points to", async () => {
    const tree = { 'etc/passwd': link(`../../../../../..${volume}/here`) };
    await inside(tree, { userNamespace, files: [passwd] }, async (container) => {
      expect(await container.ask('read', '/etc/passwd')).toBe('me:x:1:1:::');
    });
  });

  it.each([
    ['a FIFO, without waiting for a writer', { 'etc/passwd': fifo() }],
    ['a directory', { 'etc/passwd/x': file('') }],
  ])("leave out the image's own where that is %s", async (__, tree) => {
    await inside(tree, { userNamespace, files: [passwd] }, async (container) => {
      expect(await container.ask('read', '/etc/passwd')).toBe('me:x:1:1:::');
    });
  });

  it('give an error where the own one of the image is no such file: too large to be one', async () => {
    const tree = { 'etc/passwd': file('', { size: 1 << 30 }) };
    expect(await failure(tree, { userNamespace, files: [passwd] })).toMatchObject({
      code: 'BERTH_MOUNT_DESTINATION',
      what: expect.stringContaining('/etc/passwd') as string,
      why: expect.stringContaining('file too large') as string,
    });
  });

  it('give an error where /etc is a file', async () => {
    expect(await failure({ etc: file('') }, { userNamespace, files: [passwd] })).toMatchObject({
      code: 'BERTH_MOUNT_DESTINATION',
    });
  });
});

describe('without user namespaces, files that Berth writes', () => {
  it("leave out the image's own where the user may not read it", async () => {
    const files = [{ path: '/etc/passwd', content: Buffer.from('me:x:1:1:::\n'), appendImage: true }];
    const tree = { 'etc/passwd': file('secret', { mode: 0o600 }) };
    await inside(tree, { userNamespace: false, files }, async (container) => {
      expect(await container.ask('read', '/etc/passwd')).toBe('me:x:1:1:::');
    });
  });
});

describe('an image', () => {
  const usual = ['/tmp', '/proc', '/dev', '/sys'].map((path) => ({
    source: path,
    destination: path,
    devices: path === '/dev',
  }));

  it('may lack /tmp, /proc, /sys and /dev', async () => {
    await inside({}, { mounts: usual }, async (container) => {
      expect(await container.ask('open', '/dev/null', '/proc/self/status')).toBe('opened\nopened');
      expect(await container.ask('stat', '/tmp')).toMatch(/ 41777$/);
    });
  });

  it('may have /home as a link', async () => {
    await inside({ 'var/home': directory(), home: link('var/home') }, volumeAt('/home/somebody'), async (container) => {
      expect(await container.ask('read', '/home/somebody/here', '/var/home/somebody/here')).toBe(
        'the volume\nthe volume',
      );
    });
  });

  it('may have a root directory that only its owner can read', async () => {
    const tree = makeImage(scratch, { toolbox: toolbox() }, { mode: 0o711 });
    const container = await construct(scratch, tree, caller, volumeAt('/data'));
    expect(await container.ask('stat', '/')).toBe('0 0 40711');
    expect(await container.ask('read', '/data/here')).toBe('the volume');
    container.close();
  });
});
