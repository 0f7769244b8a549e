import { spawn } from 'node:child_process';
import { once } from 'node:events';
import {
  chmodSync,
  closeSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { hostname, tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { ImageStore, pinnedReference, type ImageRecord } from '../../src/image/index.js';
import { writeDurably } from '../../src/image/durable.js';
import { formatRecord } from '../../src/image/record.js';
import { currentOwner, makeTemporary } from '../../src/image/temporary.js';

const HEX = 'ab'.repeat(32);

let directory: string;
let path: string;

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'berth-store-'));
  path = join(directory, 'store');
});

afterEach(() => {
  rmSync(directory, { recursive: true, force: true });
});

function open(): Promise<ImageStore> {
  return ImageStore.open({ path, compressionLevel: 1 });
}

/** Writes a reference as an import would have. */
function refer(scope: string, file: string, record: Partial<ImageRecord> = {}): ImageRecord {
  const whole: ImageRecord = {
    name: 'app:latest',
    digest: `sha256:${HEX}`,
    size: 5,
    created: 1_700_000_000,
    source: 'a test',
    owner: scope === 'site' ? 'site' : Number(scope.slice('uid-'.length)),
    format: 'squashfs',
    ...record,
  };
  mkdirSync(join(path, 'refs', scope), { recursive: true });
  writeFileSync(join(path, 'refs', scope, file), formatRecord(whole));
  return whole;
}

function image(content = 'bytes'): string {
  const file = join(path, 'images/sha256', `${HEX}.squashfs`);
  writeFileSync(file, content, { mode: 0o444 });
  return file;
}

describe('opening a store', () => {
  it('makes its directories, for the daemon alone', async () => {
    await open();
    const byDigest = ['images', 'manifests', 'layers'].flatMap((part) => [part, `${part}/sha256`]);
    for (const part of ['', ...byDigest, 'refs', 'refs/site', 'shared', 'leases', 'promises', 'uses', 'tmp']) {
      expect(statSync(join(path, part)).mode & 0o777).toBe(0o700);
    }
    await open();
  });

  it('refuses one that others may write to', async () => {
    mkdirSync(path);
    chmodSync(path, 0o777);
    await expect(open()).rejects.toMatchObject({
      code: 'BERTH_STORE_UNUSABLE',
      why: 'others than its owner may write to it',
    });
  });

  it('refuses one whose parent is not there: perhaps a file system was not mounted', async () => {
    path = join(directory, 'mnt/store');
    await expect(open()).rejects.toMatchObject({ code: 'BERTH_STORE_UNUSABLE' });
    expect(existsSync(join(directory, 'mnt'))).toBe(false);
  });

  it('refuses what is not a directory', async () => {
    writeFileSync(path, '');
    await expect(open()).rejects.toMatchObject({ code: 'BERTH_STORE_UNUSABLE', why: 'it is not a directory' });
  });
});

describe('the turn at bringing an image', () => {
  it('cannot be had where the store cannot be written to, and says so', async () => {
    const store = await open();
    rmSync(join(path, 'tmp'), { recursive: true });
    await expect(store.turns.take({ uid: 1, words: 'pull of app' }, () => '')).rejects.toMatchObject({
      code: 'BERTH_STORE_UNUSABLE',
    });
  });
});

describe('resolving a name', () => {
  it('finds an image of the site for everyone', async () => {
    const store = await open();
    const record = refer('site', 'quay.io+lab+app:1.json', { name: 'quay.io/lab/app:1' });
    expect(await store.resolve('quay.io/lab/app:1', 1000)).toEqual(record);
    expect(await store.resolve('quay.io/lab/app:1', 0)).toEqual(record);
  });

  it("finds the user's own image before the site's of the same name", async () => {
    const store = await open();
    const site = refer('site', 'app:latest.json');
    const own = refer('uid-1000', 'app:latest.json', { source: 'mine' });
    expect(await store.resolve('app', 1000)).toEqual(own);
    expect(await store.resolve('app', 1001)).toEqual(site);
  });

  it('finds by digest only what the user or the site has imported', async () => {
    const store = await open();
    const own = refer('uid-1000', `sha256:${HEX}.json`);
    expect(await store.resolve(`sha256:${HEX}`, 1000)).toEqual(own);
    await expect(store.resolve(`sha256:${HEX}`, 1001)).rejects.toMatchObject({ code: 'BERTH_IMAGE_UNKNOWN' });
  });

  it('with a digest finds what has that digest, whatever the name means now', async () => {
    const store = await open();
    const manifest = `sha256:${'cd'.repeat(32)}`;
    refer('site', 'app:1.json', { name: 'app:1', digest: `sha256:${'00'.repeat(32)}` });
    const pinned = refer('site', `${manifest}.json`, { name: 'other:2', manifest });
    expect(await store.resolve(`app:1@${manifest}`, 1000)).toEqual({ ...pinned, name: 'app:1' });
    expect(await store.resolve(manifest, 1000)).toEqual(pinned);
  });

  it('by digest finds nothing else, whatever is written under the digest', async () => {
    const store = await open();
    const digest = `sha256:${'cd'.repeat(32)}`;
    refer('uid-1000', `${digest}.json`, { name: digest, access: { everyone: true, uids: [], gids: [] } });
    await expect(store.resolve(digest, 1000)).rejects.toMatchObject({ code: 'BERTH_IMAGE_UNKNOWN' });
    await expect(store.resolve(`app@${digest}`, 1000)).rejects.toMatchObject({ code: 'BERTH_IMAGE_UNKNOWN' });
  });

  it.each([
    ['the users it names', { everyone: false, uids: [1000], gids: [] }, [1000], [1001, 1002]],
    ['members of the groups it names', { everyone: false, uids: [], gids: [20] }, [1002], [1000, 1001]],
    ['everyone', { everyone: true, uids: [], gids: [] }, [1000, 1001, 1002], []],
    ['nobody but root', { everyone: false, uids: [], gids: [] }, [], [1000, 1001, 1002]],
  ])('of the site finds it for %s, where the image says so', async (_, access, may, mayNot) => {
    const store = await open();
    const record = refer('site', 'app:latest.json', { access });
    const groups = (uid: number): number[] => (uid === 1002 ? [uid, 20] : [uid]);
    for (const uid of [0, ...may]) expect(await store.resolve('app', uid, groups(uid))).toEqual(record);
    for (const uid of mayNot) {
      await expect(store.resolve('app', uid, groups(uid))).rejects.toMatchObject({ code: 'BERTH_IMAGE_UNKNOWN' });
    }
    expect(await store.list(may[0] ?? 0, groups(may[0] ?? 0))).toEqual([record]);
    if (mayNot[0] !== undefined) expect(await store.list(mayNot[0], groups(mayNot[0]))).toEqual([]);
  });

  it("of another user finds what that user shares, by the account's name", async () => {
    const store = await open();
    const shared = { access: { everyone: false, uids: [1000], gids: [] } };
    const record = refer('uid-1', 'app:latest.json', shared);
    refer('uid-1', 'secret:latest.json', { name: 'secret:latest' });
    expect(await store.resolve('user:daemon/app', 1000)).toEqual(record);
    expect(await store.resolve('user:daemon/app', 1)).toEqual(record);
    for (const reference of ['user:daemon/secret', 'user:no-such-account/app', 'user:bin/app', 'app']) {
      await expect(store.resolve(reference, 1000)).rejects.toMatchObject({ code: 'BERTH_IMAGE_UNKNOWN' });
    }
    await expect(store.resolve('user:daemon/app', 1001)).rejects.toMatchObject({ code: 'BERTH_IMAGE_UNKNOWN' });
  });

  it('of other users are listed where these share them; of very much, what each shared last', async () => {
    const store = await open();
    const access = { everyone: true, uids: [], gids: [] };
    for (const uid of [1, 2]) writeFileSync(join(path, 'shared', `uid-${uid}`), '');
    for (let i = 1; i <= 300; i++)
      refer('uid-1', `a${i}:1.json`, { name: `a${i}:1`, owner: 1, access, created: i, source: '/'.repeat(4000) });
    refer('uid-2', 'b:1.json', { name: 'b:1', owner: 2, access });
    const names = (await store.listShared(1000, [])).map(({ name }) => name);
    expect(names).toContain('b:1');
    expect(names).toContain('a300:1');
    expect(names).not.toContain('a1:1');
    expect(names.length).toBeGreaterThan(100);
    expect(JSON.stringify(await store.listShared(1000, [])).length).toBeLessThan(600_000);
  });

  it('refuses a path', async () => {
    const store = await open();
    await expect(store.resolve('/images/../etc/shadow', 0)).rejects.toMatchObject({ code: 'BERTH_IMAGE_NAME' });
  });

  it('says who has no such image where', async () => {
    const store = await open();
    await expect(store.resolve('app', 1000, [1000], 'ada')).rejects.toMatchObject({
      code: 'BERTH_IMAGE_UNKNOWN',
      what: `there is no image app:latest for ada in the store of ${hostname()}`,
    });
  });

  it.each([
    '',
    '{}',
    '{"name":"app"',
    formatRecord({
      name: 'a',
      digest: `sha256:${HEX}`,
      size: 1,
      created: 1,
      source: '',
      owner: 'site',
      format: 'squashfs',
      access: { everyone: false, uids: [-1], gids: [] },
    }),
    formatRecord({
      name: 'a',
      digest: 'sha256:../../x',
      size: 1,
      created: 1,
      source: '',
      owner: 'site',
      format: 'squashfs',
    }),
  ])('does not trust a reference that holds %j', async (content) => {
    const store = await open();
    const file = join(path, 'refs/site/app:latest.json');
    writeFileSync(file, content);
    await expect(store.resolve('app', 1000)).rejects.toMatchObject({
      code: 'BERTH_IMAGE_DAMAGED',
      why: `${file} does not hold what berthd wrote there`,
    });
  });
});

describe('a pinned reference', () => {
  const manifest = `sha256:${'cd'.repeat(32)}`;

  it('has the digest of the manifest of what was pulled, and of the file of what was imported', async () => {
    await open();
    expect(pinnedReference('app', refer('site', 'app:latest.json'))).toBe(`app:latest@sha256:${HEX}`);
    expect(pinnedReference('app:1', refer('site', 'app:1.json', { manifest }))).toBe(`app:1@${manifest}`);
  });

  it('keeps whose the image is', async () => {
    await open();
    const shared = refer('uid-1', 'app:1.json', { name: 'app:1', manifest });
    expect(pinnedReference('user:daemon/app:1', shared)).toBe(`user:daemon/app:1@${manifest}`);
  });

  it('of a digest has the name that the image goes by, if any', async () => {
    await open();
    expect(pinnedReference(`sha256:${HEX}`, refer('site', 'a.json'))).toBe(`app:latest@sha256:${HEX}`);
    expect(pinnedReference(`sha256:${HEX}`, refer('site', 'a.json', { name: manifest, manifest }))).toBe(manifest);
  });
});

describe('listing', () => {
  it("shows a user the site's names and their own, without digests", async () => {
    const store = await open();
    refer('site', 'b:1.json', { name: 'b:1' });
    refer('uid-1000', 'a:1.json', { name: 'a:1' });
    refer('uid-1000', `sha256:${HEX}.json`);
    refer('uid-1001', 'c:1.json', { name: 'c:1' });
    expect((await store.list(1000)).map(({ name }) => name)).toEqual(['a:1', 'b:1']);
    expect((await store.list(1002)).map(({ name }) => name)).toEqual(['b:1']);
  });
});

describe('opening an image', () => {
  it('gives a descriptor of the whole file', async () => {
    const store = await open();
    image();
    const descriptor = await store.openImage(refer('site', 'app:latest.json'));
    expect(readFileSync(descriptor, 'utf8')).toBe('bytes');
    closeSync(descriptor);
  });

  const damages: [string, (file: string) => void, RegExp][] = [
    ['is not there', (file) => rmSync(file), /No such file/],
    [
      'is cut off',
      (file) => {
        rmSync(file);
        writeFileSync(file, 'byt', { mode: 0o444 });
      },
      /has 3 bytes, not 5/,
    ],
    ['can be written to by others', (file) => chmodSync(file, 0o464), /others than its owner may write/],
    [
      'is a link',
      (file) => {
        rmSync(file);
        symlinkSync('/etc/hostname', file);
      },
      /is a symbolic link/,
    ],
    [
      'is a directory',
      (file) => {
        rmSync(file);
        mkdirSync(file);
      },
      /is not a regular file/,
    ],
  ];
  it.each(damages)('refuses one that %s', async (_, damage, why) => {
    const store = await open();
    damage(image());
    await expect(store.openImage(refer('site', 'app:latest.json'))).rejects.toMatchObject({
      code: 'BERTH_IMAGE_DAMAGED',
      what: 'the image app:latest cannot be mounted',
      why: expect.stringMatching(why) as string,
    });
  });
});

describe('a file is written', () => {
  it('whole or not at all: an unfinished one never has its name', async () => {
    await open();
    const temporary = await makeTemporary(join(path, 'tmp'), await currentOwner());
    const target = join(path, 'refs/site/app:latest.json');
    writeFileSync(target, 'old');
    // Content that fails while it is written, as on a full disk.
    await expect(writeDurably(target, Symbol('no text') as unknown as string, temporary)).rejects.toThrow();
    expect(readFileSync(target, 'utf8')).toBe('old');
    rmSync(temporary, { recursive: true });
    const next = await makeTemporary(join(path, 'tmp'), await currentOwner());
    await writeDurably(target, 'new', next);
    expect(readFileSync(target, 'utf8')).toBe('new');
    expect(readdirSync(next)).toEqual([]);
  });
});

describe('recovery', () => {
  const random = '0123456789abcdef';

  async function entry(change: Partial<Awaited<ReturnType<typeof currentOwner>>>): Promise<string> {
    const { host, boot, pid, start } = { ...(await currentOwner()), ...change };
    const name = [host, boot, pid, start, random].join('_');
    mkdirSync(join(path, 'tmp', name));
    writeFileSync(join(path, 'tmp', name, 'image'), 'unfinished');
    return name;
  }

  it("removes the unfinished work of this host's processes that are gone, and nothing else", async () => {
    const store = await open();
    await entry({ boot: '00000000000000ff' });
    await entry({ pid: 4_194_304 + 1 });
    await entry({ start: '1' });
    const kept = [
      await entry({}),
      await entry({ host: 'another-node' }),
      await entry({ host: 'another-node', boot: '00000000000000ff' }),
    ];
    mkdirSync(join(path, 'tmp/of-somebody-else'));
    expect(await store.recover()).toBe(3);
    expect(readdirSync(join(path, 'tmp')).sort()).toEqual([...kept, 'of-somebody-else'].sort());
  });

  it('takes a process that was killed, and that its parent has not waited for, as gone', async () => {
    // What sh has started, sleep is the parent of, and never waits for.
    const parent = spawn('sh', ['-c', 'sleep 0 & echo $!; exec sleep 60'], { stdio: ['ignore', 'pipe', 'ignore'] });
    try {
      const [said] = (await once(parent.stdout, 'data')) as [Buffer];
      const pid = Number(said.toString());
      const fields = (): string[] =>
        readFileSync(`/proc/${pid}/stat`, 'utf8')
          .replace(/^.*\) /s, '')
          .split(' ');
      await expect.poll(() => fields()[0]).toBe('Z');
      const store = await open();
      await entry({ pid, start: fields()[19] ?? '' });
      expect(await store.recover()).toBe(1);
    } finally {
      parent.kill();
      await once(parent, 'close');
    }
  });
});

describe('a plain user', () => {
  const alice = { uid: 1000, gids: [1000] };

  it('has at most 1000 names, which can still be given to other images', async () => {
    const store = await open();
    image();
    for (let i = 0; i < 1000; i++) refer('uid-1000', `app:${i}.json`, { name: `app:${i}` });
    await expect(store.upkeep.tag('app:0', 'app:1000', alice, 1000)).rejects.toMatchObject({
      code: 'BERTH_NOT_PERMITTED',
      what: 'more than 1000 names for images is not permitted to uid 1000',
    });
    expect(await store.upkeep.tag('app:0', 'app:999', alice, 1000)).toMatchObject({ name: 'app:999' });
    expect(readdirSync(join(path, 'promises', HEX))).toEqual([]);
  });

  it('lists names without the configurations of their images', async () => {
    const store = await open();
    refer('uid-1000', 'app:1.json', { name: 'app:1', config: { Env: [] }, layers: [`sha256:${HEX}`] });
    const [listed] = await store.list(1000);
    expect(listed).not.toHaveProperty('config');
    expect(await store.resolve('app:1', 1000)).toHaveProperty('config');
  });
});

describe('a record', () => {
  it('is hardly longer than the configuration in it, however deep that is nested', () => {
    let config: unknown = 0;
    for (let depth = 0; depth < 2000; depth++) config = [config];
    const record = {
      name: 'a',
      digest: `sha256:${HEX}`,
      size: 1,
      created: 1,
      source: '',
      owner: 'site',
      format: 'squashfs',
    };
    const text = formatRecord({ ...record, config: { config } } as ImageRecord);
    expect(text.length).toBeLessThan(JSON.stringify(config).length + 1000);
  });
});
