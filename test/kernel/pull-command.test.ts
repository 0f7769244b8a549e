import { statSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { Link } from '../registry/link.js';
import { Registry } from '../registry/registry.js';
import { noise } from './import-tools.js';
import { TestDaemon } from './helpers/daemon.js';
import { imagePaths, Puller, unfinished } from './helpers/puller.js';

// The real command line as plain users, a real berthd and a real registry.

const LOGIN = { user: 'alice', password: 'correct horse' };
let registry: Registry;
let locked: Registry;
let daemon: TestDaemon;
let alice: Puller;
let bob: Puller;

beforeAll(async () => {
  registry = await Registry.start();
  locked = await Registry.start({ auth: LOGIN });
});

afterAll(async () => {
  await registry.stop();
  await locked.stop();
});

beforeEach(async () => {
  daemon = new TestDaemon('pull = "anyone"\n');
  alice = new Puller(daemon, 23_456);
  bob = new Puller(daemon, 23_457);
  await daemon.start();
  registry.forgetAccesses();
  locked.forgetAccesses();
  return () => daemon.remove();
});

interface View {
  readonly image: {
    readonly name: string;
    readonly digest: string;
    readonly manifest?: string;
    readonly platform?: string;
  };
  readonly pinned: string;
  readonly fetched: number;
}

async function pullView(user: Puller, ...argv: readonly string[]): Promise<View> {
  const { status, stdout, stderr } = await user.pull('--json', ...argv);
  expect({ status, stderr: status === 0 ? '' : stderr }).toEqual({ status: 0, stderr: '' });
  return JSON.parse(stdout) as View;
}

describe('berth pull brings', () => {
  it.each(['oci', 'docker'] as const)('an %s image with layers of every compression', async (format) => {
    const { manifest } = await registry.push(`mixed/${format}:1`, {
      format,
      layers: [
        { content: { 'usr/bin/tool': 'tool', 'etc/gone': 'x' } },
        { content: { 'etc/.wh.gone': '', 'etc/new': 'y' }, compression: 'zstd' },
        { content: { 'opt/last': 'z' }, compression: 'none' },
      ],
    });
    const name = `${registry.host}/mixed/${format}:1`;
    const { status, stdout } = await alice.pull(`docker://${name}`);
    expect(status).toBe(0);
    expect(stdout).toMatch(
      new RegExp(`^pulled ${name} {2}${manifest.digest}\n[\\d.]+ k?B fetched, 4\\.1 kB in the store, [\\d.]+ s\n$`),
    );
    const { image, pinned } = await pullView(alice, name);
    expect(pinned).toBe(`${name}@${manifest.digest}`);
    expect(imagePaths(daemon, image.digest)).toEqual(
      expect.arrayContaining(['/usr/bin/tool', '/etc/new', '/opt/last']) as unknown,
    );
    expect(imagePaths(daemon, image.digest)).not.toContain('/etc/gone');
  });

  it('of an index the image for this kind of machine, or for the one that was asked for', async () => {
    const host = { x64: 'linux/amd64', arm64: 'linux/arm64/v8' }[process.arch as string] ?? `linux/${process.arch}`;
    const { images } = await registry.pushIndex('index:1', [
      { platform: 'linux/s390x', layers: [{ content: { 'etc/s390x': '' } }] },
      { platform: host, layers: [{ content: { 'etc/host': '' } }] },
    ]);
    const name = `${registry.host}/index:1`;
    expect(await pullView(alice, name)).toMatchObject({
      image: { manifest: images[1]?.manifest.digest, platform: host },
    });
    const other = await pullView(alice, '--platform', 'linux/s390x', '--name', 'mainframe', name);
    expect(other.image).toMatchObject({ name: 'mainframe:latest', manifest: images[0]?.manifest.digest });
  });

  it('what a digest names, without giving it a name or moving one', async () => {
    const first = await registry.push('moving:1', { layers: [{ content: { 'etc/a': '1' } }] });
    const second = await registry.push('moving:1', { layers: [{ content: { 'etc/a': '2' } }] });
    const name = `${registry.host}/moving:1`;
    await pullView(alice, name);
    const { status, stdout } = await alice.pull('--quiet', `${name}@${first.manifest.digest}`);
    expect({ status, stdout }).toEqual({ status: 0, stdout: `${first.manifest.digest}\n` });
    const { stdout: list } = await alice.berth(['images', '--json']);
    const { images } = JSON.parse(list) as { images: { name: string; manifest?: string }[] };
    expect(images.map((image) => image.name)).toEqual([name]);
    expect((await pullView(alice, name)).image.manifest).toBe(second.manifest.digest);
  });

  it('only the layers that are not in the store', async () => {
    const base = { content: { 'usr/lib/base': noise(1_000_000) } };
    await registry.push('app:1', { layers: [base, { content: { 'etc/version': '1' } }] });
    const { layers } = await registry.push('app:2', { layers: [base, { content: { 'etc/version': '2' } }] });
    await pullView(alice, `${registry.host}/app:1`);
    registry.forgetAccesses();
    const { fetched } = await pullView(alice, `${registry.host}/app:2`);
    expect(fetched).toBeLessThan(10_000);
    expect(layers.map(({ digest }) => registry.blobReads(digest))).toEqual([0, 1]);
  });

  it('nothing twice of an image that everyone may read', async () => {
    const { layers } = await registry.push('everyones:1', { layers: [{ content: { 'etc/a': 'everyone' } }] });
    await pullView(alice, `${registry.host}/everyones:1`);
    expect((await pullView(bob, `${registry.host}/everyones:1`)).fetched).toBe(0);
    expect(layers.map(({ digest }) => registry.blobReads(digest))).toEqual([1]);
  });
});

describe('an image that not everyone may read', () => {
  const name = (): string => `${locked.host}/secret:1`;

  beforeAll(async () => {
    await locked.push('secret:1', { layers: [{ content: { 'etc/secret': 'x' } }] });
  });

  async function logIn(user: Puller): Promise<void> {
    const argv = ['login', '--tls-verify=false', '--username', LOGIN.user, locked.host];
    const { status, stdout, stderr } = await user.berth(argv, { input: `${LOGIN.password}\n` });
    expect({ status, stderr }).toEqual({ status: 0, stderr: '' });
    expect(stdout).toBe(
      `logged in to ${locked.host} as alice\nthe credentials are in ${user.home}/.config/containers/auth.json\n`,
    );
  }

  it('is refused without credentials', async () => {
    const { status, stderr } = await alice.pull(name());
    expect(status).toBe(4);
    expect(stderr).toContain(`berth: BERTH_PULL_DENIED: ${locked.host} does not let you read ${name()}\n`);
    expect(stderr).toContain('you are not logged in there');
  });

  it('is pulled after berth login, and no longer after berth logout', async () => {
    await logIn(alice);
    expect(statSync(join(alice.home, '.config/containers/auth.json')).mode & 0o777).toBe(0o600);
    expect(await alice.pull(name())).toMatchObject({ status: 0 });
    expect(await alice.berth(['logout', locked.host])).toMatchObject({ status: 0, stderr: '' });
    expect(await alice.pull(name())).toMatchObject({ status: 4 });
  });

  it('says that there is nothing to forget, to whoever has never logged in and to whoever logs out again', async () => {
    const refused = {
      status: 2,
      stdout: '',
      stderr: expect.stringContaining(`you are not logged in to ${locked.host}`) as string,
    };
    expect(await alice.berth(['logout', locked.host])).toMatchObject(refused);
    await logIn(alice);
    expect(await alice.berth(['logout', locked.host])).toMatchObject({ status: 0 });
    expect(await alice.berth(['logout', locked.host])).toMatchObject(refused);
  });

  it("is pulled with the credentials of docker's configuration, and with those of a file that is given", async () => {
    const auth = Buffer.from(`${LOGIN.user}:${LOGIN.password}`).toString('base64');
    const file = JSON.stringify({ auths: { [locked.host]: { auth } } });
    alice.write('.docker/config.json', file);
    expect(await alice.pull(name())).toMatchObject({ status: 0 });
    bob.write('mine.json', file);
    expect(await bob.pull('--authfile', 'mine.json', name())).toMatchObject({ status: 0 });
  });

  it('has to be brought by each of its users', async () => {
    await logIn(alice);
    await logIn(bob);
    const first = await pullView(alice, name());
    const second = await pullView(bob, name());
    expect(second.fetched).toBe(first.fetched);
    expect(second.image.digest).toBe(first.image.digest);
    expect((await pullView(bob, name())).fetched).toBe(0);
  });

  it('is refused to wrong credentials, in words that do not hold them', async () => {
    const argv = ['login', '--tls-verify=false', '--username', LOGIN.user, locked.host];
    const { status, stdout, stderr } = await alice.berth(argv, { input: 'wrong battery' });
    expect(status).toBe(4);
    expect(stdout).toBe('');
    expect(stderr).toContain('BERTH_REGISTRY_LOGIN');
    expect(stderr).not.toContain('battery');
    const auth = Buffer.from('alice:wrong battery').toString('base64');
    alice.write('.docker/config.json', JSON.stringify({ auths: { [locked.host]: { auth } } }));
    const refused = await alice.pull(name());
    expect(refused).toMatchObject({ status: 4 });
    expect(refused.stderr).toContain('why: you are logged in there as alice\n');
    expect(refused.stderr).not.toMatch(new RegExp(`battery|${auth}`));
    expect(daemon.log).not.toMatch(new RegExp(`battery|horse|${auth}`));
  });
});

describe('progress', () => {
  const size = 8_000_000;

  beforeAll(async () => {
    await registry.push('large:1', { layers: [{ content: { data: noise(size) } }, { content: { 'etc/small': '' } }] });
  });

  it('is a JSON object a line, with --progress=json', async () => {
    const link = await Link.open(registry.port);
    try {
      link.rate = 3_000_000;
      const { status, stdout, stderr } = await alice.pull('--progress=json', `${link.host}/large:1`);
      expect({ status, stderr }).toEqual({ status: 0, stderr: '' });
      const events = stdout
        .trimEnd()
        .split('\n')
        .map(
          (line) => JSON.parse(line) as { event: string; received?: number; size?: number; bytesPerSecond?: number },
        );
      const kinds = events.map(({ event }) => event);
      expect(kinds[0]).toBe('start');
      expect(kinds.slice(-2)).toEqual(['converting', 'done']);
      const looks = events.filter(({ event }) => event === 'progress');
      expect(looks.length).toBeGreaterThan(1);
      const received = looks.map((look) => look.received ?? -1);
      expect(received).toEqual(received.toSorted((a, b) => a - b));
      expect(received[0]).toBeGreaterThan(0);
      expect(looks[1]?.bytesPerSecond).toBeGreaterThan(0);
      expect(looks.every((look) => look.size === events[0]?.size)).toBe(true);
    } finally {
      await link.close();
    }
  });

  it("of somebody else's pull is shown to whoever waits for the same", async () => {
    const link = await Link.open(registry.port);
    try {
      link.rate = 2_000_000;
      const { layers } = await registry.push('shared:1', { layers: [{ content: { data: noise(size).reverse() } }] });
      const first = alice.start(['pull', '--tls-verify=false', '--progress=json', `${link.host}/shared:1`]);
      await expect.poll(first.said).toContain('"event":"progress"');
      const second = await bob.pull('--progress=json', `${link.host}/shared:1`);
      expect(second).toMatchObject({ status: 0, stderr: '' });
      expect(second.stdout).toMatch(/"event":"waiting","who":"[^"]+ on [^"]+"/);
      expect(second.stdout).toMatch(/"event":"progress","phase":"waiting","who":"[^"]*","received":[1-9]/);
      expect(second.stdout).toContain('"fetched":0');
      expect(await first.result).toMatchObject({ status: 0 });
      expect(layers.map(({ digest }) => registry.blobReads(digest))).toEqual([1]);
    } finally {
      await link.close();
    }
  });

  it('is in lines where nobody watches, and nothing with --quiet', async () => {
    const name = `${registry.host}/large:1`;
    const { stderr } = await alice.pull(name);
    expect(stderr).toBe(`${name}: 3 blobs, 8 MB\n${name}: putting the image together\n`);
    expect(await alice.pull('--quiet', name)).toMatchObject({ status: 0, stderr: '' });
  });
});

it('leaves nothing unfinished', async () => {
  await registry.push('clean:1', { layers: [{ content: { 'etc/a': 'clean' } }] });
  expect(await alice.pull(`${registry.host}/clean:1`)).toMatchObject({ status: 0 });
  await expect.poll(() => unfinished(daemon)).toEqual([]);
  expect(alice.running('skopeo')).toEqual([]);
});
