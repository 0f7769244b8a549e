// What goes from the store, and what never does. Each test has a store of its own; "hosts" are stores opened on it.
import { createHash } from 'node:crypto';
import { closeSync, existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, utimesSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { ImageStore, type Collected, type ImageRecord } from '../../src/image/index.js';
import { condemn, holdImage, imageInPlace, releaseImage } from '../../src/image/condemned.js';
import { Layout, type Scope } from '../../src/image/layout.js';
import { publishNames } from '../../src/image/names.js';
import { currentOwner, makeTemporary } from '../../src/image/temporary.js';

const HOUR = 3_600_000;
const DAY = 24 * HOUR;

let directory: string;
let layout: Layout;
let store: ImageStore;

beforeEach(async () => {
  directory = mkdtempSync(join(tmpdir(), 'berth-collect-'));
  layout = new Layout(join(directory, 'store'));
  store = await ImageStore.open({ path: layout.root, compressionLevel: 1 });
});

afterEach(() => {
  rmSync(directory, { recursive: true, force: true });
});

interface Settings {
  readonly dryRun?: boolean;
  readonly layerCache?: number;
  readonly mounted?: readonly string[];
  readonly settling?: number;
}

function collect({ dryRun = false, layerCache = 0, mounted = [], settling = 0 }: Settings = {}): Promise<Collected[]> {
  return store.upkeep.collect({ dryRun, promiseDays: 30, layerCache, mounted: new Set(mounted), settling });
}

const removed = (entries: readonly Collected[]): string[] =>
  entries.filter(({ keptFor }) => keptFor === undefined).map(({ name }) => name);

/** Sets a file's time back. */
function age(path: string, milliseconds: number): void {
  const then = (Date.now() - milliseconds) / 1000;
  utimesSync(path, then, then);
}

const digestOf = (content: string): string => `sha256:${createHash('sha256').update(content).digest('hex')}`;

/** Puts an image of this content into its place, as an import does, and gives it a name where one is given. */
async function place(content: string, name?: string, scope: Scope = 'site'): Promise<ImageRecord> {
  const temporary = await makeTemporary(layout.temporary, await currentOwner());
  const digest = digestOf(content);
  await holdImage(layout, digest, temporary);
  writeFileSync(layout.image(digest), content, { mode: 0o444 });
  const record: ImageRecord = {
    name: name ?? digest,
    digest,
    size: content.length,
    created: 1_700_000_000,
    source: 'a test',
    owner: scope,
    format: 'squashfs',
  };
  const published = await publishNames(layout, scope, record, temporary);
  rmSync(temporary, { recursive: true });
  return published;
}

/** An image that lost its name a day ago. */
async function forgotten(content: string, scope: Scope = 'site'): Promise<string> {
  const { digest, name } = await place(content, 'app:forgotten', scope);
  rmSync(layout.ref(scope, name));
  for (const path of [layout.image(digest), layout.ref(scope, digest)]) age(path, DAY);
  return digest;
}

const isThere = (digest: string): boolean => existsSync(layout.image(digest));

/** Every file about this image. */
function traces(digest: string): string[] {
  const hex = digest.slice('sha256:'.length);
  return (readdirSync(layout.root, { recursive: true }) as string[]).filter((path) => path.includes(hex));
}

describe('a collection removes an image', () => {
  it('that has no name any more, with all that is known of it', async () => {
    const digest = await forgotten('old');
    writeFileSync(layout.manifest(digestOf('manifest')), JSON.stringify({ image: digest }));
    expect(await collect()).toEqual([{ what: 'image', name: digest, size: 3 }]);
    expect(traces(digest)).toEqual([]);
    expect(readdirSync(layout.manifests)).toEqual([]);
    await expect(store.resolve(digest, 1000)).rejects.toMatchObject({ code: 'BERTH_IMAGE_UNKNOWN' });
  });

  it('that was left by a process killed before it could give it a name', async () => {
    const digest = digestOf('orphan');
    writeFileSync(layout.image(digest), 'orphan');
    age(layout.image(digest), DAY);
    expect(removed(await collect())).toEqual([digest]);
  });

  it('that was made of a file, with the note that says so; not one that a job was promised', async () => {
    const digest = await forgotten('old');
    const kept = await forgotten('kept');
    await store.promise(kept, 1000);
    const noteOf = (made: string): string => layout.file(digestOf(`file of ${made}`));
    for (const made of [digest, kept])
      writeFileSync(noteOf(made), JSON.stringify({ digest: made, identity: '1 2 3 4 5', path: '/home/a/app.sqsh' }));
    expect(removed(await collect())).toEqual([digest]);
    expect([digest, kept].map(noteOf).map((path) => existsSync(path))).toEqual([false, true]);
  });

  it('whose promises are older than the site keeps them', async () => {
    const digest = await forgotten('old');
    await store.promise(digest, 1000);
    age(join(layout.promisesOf(digest), 'uid-1000'), 31 * DAY);
    expect(removed(await collect())).toEqual([digest]);
    expect(traces(digest)).toEqual([]);
  });

  it('only says so, when it is asked what would go', async () => {
    const digest = await forgotten('old');
    expect(removed(await collect({ dryRun: true }))).toEqual([digest]);
    expect(isThere(digest)).toBe(true);
  });
});

describe('a collection keeps an image', () => {
  it("that has a name, the site's or anybody's", async () => {
    const site = await place('site', 'app:1');
    const own = await place('own', 'app:1', 1000);
    for (const { digest } of [site, own]) age(layout.image(digest), DAY);
    expect(await collect()).toEqual([]);
    expect([isThere(site.digest), isThere(own.digest)]).toEqual([true, true]);
  });

  const reasons: [string, (digest: string) => Promise<unknown>, RegExp][] = [
    ['a job of any host runs', (digest) => store.use(digest, 4711), /^in use by job 4711 on /],
    ['a submitted job was promised', (digest) => store.promise(digest, 1000), /a job was submitted with it/],
    [
      'was launched within the hour',
      async (digest) => {
        await store.use(digest, 4711);
        await store.unuse(digest, 4711);
      },
      /less than an hour ago/,
    ],
    [
      'somebody is giving a name',
      (digest) => holdImage(layout, digest, join(layout.temporary, 'other-host_0_1_1_ab')),
      /giving it a name/,
    ],
  ];
  it.each(reasons)('that %s, and says so', async (_, need, why) => {
    const digest = await forgotten('old');
    await need(digest);
    expect(await collect()).toEqual([
      { what: 'image', name: digest, size: 3, keptFor: expect.stringMatching(why) as string },
    ]);
    expect(isThere(digest)).toBe(true);
    expect((await store.resolve(digest, 1000)).digest).toBe(digest);
  });

  it('that a container of this node has mounted, though the store was not told yet', async () => {
    const digest = await forgotten('old');
    expect(removed(await collect({ mounted: [digest] }))).toEqual([]);
    expect(isThere(digest)).toBe(true);
  });

  it('that came less than an hour ago: its puller may be about to submit a job with its digest', async () => {
    const { digest } = await place('new');
    expect(removed(await collect())).toEqual([]);
    expect(isThere(digest)).toBe(true);
  });

  it('for some minutes on a file system of the network, where it comes back for whoever needs it', async () => {
    const digest = await forgotten('old');
    const record = await store.resolve(digest, 1000);
    expect(removed(await collect({ settling: 600_000 }))).toEqual([]);
    expect(isThere(digest)).toBe(false);
    const file = await store.openImage(record);
    expect(isThere(digest)).toBe(true);
    closeSync(file);
    age(layout.image(digest), DAY);
    expect(removed(await collect({ settling: 600_000 }))).toEqual([]);
    age(layout.image(digest).replace('.squashfs', '.condemned'), 11 * 60_000);
    expect(removed(await collect({ settling: 600_000 }))).toEqual([digest]);
  });

  it('whose name cannot be read: it stops and says which', async () => {
    const digest = await forgotten('old');
    writeFileSync(layout.ref('site', 'broken:1'), '{');
    await expect(collect()).rejects.toMatchObject({ code: 'BERTH_IMAGE_DAMAGED', why: /broken:1\.json/ });
    expect(isThere(digest)).toBe(true);
  });
});

describe('a collector that was killed', () => {
  it('leaves an image that somebody has come to need where it is found', async () => {
    const { digest } = await place('app', 'app:1');
    await condemn(layout, digest, Date.now());
    const file = await store.openImage(await store.resolve('app:1', 1000));
    closeSync(file);
    expect(isThere(digest)).toBe(true);
  });

  it('leaves what the next collection ends', async () => {
    const digest = await forgotten('old');
    const needed = await place('app', 'app:1');
    for (const each of [digest, needed.digest]) await condemn(layout, each, Date.now());
    expect(removed(await collect())).toEqual([digest]);
    expect(isThere(needed.digest)).toBe(true);
  });

  it('leaves references to an image that is gone, which are removed, and names, which are not', async () => {
    const { digest } = await place('app', 'app:1');
    rmSync(layout.image(digest));
    await collect();
    expect(traces(digest)).toEqual([]);
    expect((await store.list(0)).map(({ name }) => name)).toEqual(['app:1']);
  });
});

describe('rmi', () => {
  const options = { promiseDays: 30, mounted: new Set<string>(), settling: 0 };
  const alice = { uid: 1000, gids: [1000] };

  it('frees the image at once when nobody else needs it', async () => {
    const { digest } = await place('app', 'app:1', 1000);
    expect(await store.upkeep.remove('app:1', alice, options)).not.toHaveProperty('keptFor');
    expect(traces(digest)).toEqual([]);
  });

  it('keeps it for the other names it has, and takes the name away', async () => {
    const { digest } = await place('app', 'app:1', 1000);
    await place('app', 'tool:2', 1001);
    const removedName = await store.upkeep.remove('app:1', alice, options);
    expect(removedName.keptFor).toBe('it has another name');
    expect(isThere(digest)).toBe(true);
    expect(await store.list(1000, [1000])).toEqual([]);
  });

  it('keeps it for the jobs that run it, which goes for their digests too', async () => {
    const { digest } = await place('app', 'app:1', 1000);
    await store.use(digest, 4711);
    const { keptFor } = await store.upkeep.remove('app:1', alice, options);
    expect(keptFor).toMatch(/^in use by job 4711 on /);
    expect((await store.resolve(`app:1@${digest}`, 1000)).digest).toBe(digest);
  });

  it('with force does not keep it for submitted jobs of the same user, but for those of others', async () => {
    const { digest } = await place('app', 'app:1', 1000);
    await store.promise(digest, 1000);
    await store.promise(digest, 1001);
    expect((await store.upkeep.remove('app:1', alice, { ...options, force: true })).keptFor).toMatch(
      /a job was submitted with it/,
    );
    const root = { uid: 0, gids: [] };
    await place('app', 'app:1');
    expect(await store.upkeep.remove('app:1', root, { ...options, force: true })).not.toHaveProperty('keptFor');
    expect(traces(digest)).toEqual([]);
  });

  it("takes all one's names of a digest", async () => {
    const { digest } = await place('app', 'app:1', 1000);
    await place('app', 'app:2', 1000);
    await store.upkeep.remove(digest, alice, options);
    expect(await store.list(1000, [1000])).toEqual([]);
    expect(isThere(digest)).toBe(false);
  });

  it('of a digest without a name leaves the name that it had, which means another image now', async () => {
    const old = await place('old', 'app:1', 1000);
    const now = await place('now', 'app:1', 1000);
    await store.upkeep.remove(old.digest, alice, options);
    expect([isThere(old.digest), isThere(now.digest)]).toEqual([false, true]);
    expect((await store.resolve('app:1', 1000)).digest).toBe(now.digest);
  });

  it("refuses what is not one's own, and tells an unknown name", async () => {
    await place('app', 'app:1');
    await expect(store.upkeep.remove('app:1', alice, options)).rejects.toMatchObject({
      code: 'BERTH_NOT_PERMITTED',
      why: "the name is the site's, and only its owner or root may",
    });
    await expect(store.upkeep.remove('ap:1', alice, options)).rejects.toMatchObject({
      code: 'BERTH_IMAGE_UNKNOWN',
      hint: expect.stringMatching(/^did you mean app:1\? /) as string,
    });
  });
});

describe('the layer cache', () => {
  function layer(content: string, used: number): string {
    const digest = digestOf(content);
    writeFileSync(layout.layer(digest), content);
    writeFileSync(layout.layerRecord(digest), '{}');
    age(layout.layerRecord(digest), used);
    return digest;
  }

  it('keeps what was used last, up to its limit', async () => {
    const [oldest, older, newest] = [layer('1234', 3 * DAY), layer('12345', 2 * DAY), layer('123456', DAY)];
    expect(removed(await collect({ layerCache: 11 }))).toEqual([oldest]);
    expect(traces(oldest)).toEqual([]);
    expect(removed(await collect({ layerCache: 0 })).sort()).toEqual([older, newest].sort());
  });
});

describe('what the store works with', () => {
  it('goes when it is stale: leases after an hour, unfinished work of other hosts after a week', async () => {
    const lease = layout.lease(digestOf('manifest'));
    writeFileSync(lease, '{}');
    const foreign = join(layout.temporary, 'other-node_00000000000000ff_17_1_0123456789abcdef');
    mkdirSync(foreign);
    writeFileSync(join(foreign, 'image'), 'unfinished');
    age(foreign, 8 * DAY);
    expect(await collect()).toEqual([]);
    age(lease, 2 * HOUR);
    age(join(foreign, 'image'), 8 * DAY);
    expect((await collect()).map(({ what }) => what)).toEqual(['lease', 'temporary']);
    expect(readdirSync(layout.leases)).toEqual([]);
    expect(readdirSync(layout.temporary)).toEqual([]);
  });
});

describe('at the same moment', () => {
  /** One who gives an image a name, as an import does that found its file in place already. */
  async function name(content: string, tag: string): Promise<void> {
    const digest = digestOf(content);
    const temporary = await makeTemporary(layout.temporary, await currentOwner());
    await holdImage(layout, digest, temporary);
    if (!(await imageInPlace(layout, digest))) writeFileSync(layout.image(digest), content, { mode: 0o444 });
    await publishNames(
      layout,
      'site',
      {
        name: tag,
        digest,
        size: content.length,
        created: 1,
        source: '',
        owner: 'site',
        format: 'squashfs',
      },
      temporary,
    );
    await releaseImage(layout, digest, temporary);
    rmSync(temporary, { recursive: true });
  }

  /** Each is met this often; threads do the store's work, so no two rounds are the same. */
  const ROUNDS = 12;
  const moments = ['before the first look', 'while it is condemned', 'after its end'] as const;

  /** Waits until a collection of the image has come to the moment; a collection that ends before is late enough. */
  async function come(moment: (typeof moments)[number], digest: string, ended: () => boolean): Promise<void> {
    const here = (): boolean => {
      if (moment === 'before the first look') return true;
      return moment === 'after its end' ? ended() : ended() || !isThere(digest);
    };
    while (!here()) await new Promise(setImmediate);
  }

  /** Four hosts collect, and `act` happens at the moment. */
  async function meet<T>(
    moment: (typeof moments)[number],
    act: (digest: string, round: number) => Promise<T>,
    check: (digest: string, round: number, result: T) => Promise<void>,
  ): Promise<void> {
    for (let round = 0; round < ROUNDS; round++) {
      const digest = await forgotten(`image ${round}`);
      let running = 4;
      const collecting = Array.from({ length: running }, () => collect().finally(() => running--));
      const acting = come(moment, digest, () => running === 0).then(() => act(digest, round));
      await Promise.all(collecting);
      await check(digest, round, await acting);
    }
  }

  it.each(moments)(
    'collectors on four hosts and one who names the image %s: the name has its image',
    async (moment) => {
      await meet(
        moment,
        (_, round) => name(`image ${round}`, `app:${round}`),
        async (digest, round) => {
          closeSync(await store.openImage(await store.resolve(`app:${round}`, 1000)));
          expect(isThere(digest)).toBe(true);
          rmSync(layout.ref('site', `app:${round}`));
        },
      );
    },
  );

  it.each(moments)('collectors and a job that is promised the image %s: what was promised stays', async (moment) => {
    await meet(
      moment,
      async (digest) => {
        await store.promise(digest, 1000);
        return imageInPlace(layout, digest);
      },
      (digest, _, promised) => {
        expect(isThere(digest)).toBe(promised);
        if (moment === 'after its end') expect(promised).toBe(false);
        return Promise.resolve();
      },
    );
  });

  it.each(moments)('a collector that is killed while another works, %s, takes nothing with it', async (moment) => {
    const { digest } = await place('app', 'app:1');
    await meet(
      moment,
      async () => {
        // What it had done: it has taken an image away that has a name, and did not live to look again.
        await condemn(layout, digest, 0);
      },
      async () => {
        closeSync(await store.openImage(await store.resolve('app:1', 1000)));
        expect(isThere(digest)).toBe(true);
      },
    );
  });

  it('rmi of two names of one image by two users: exactly the last one frees it', async () => {
    for (let round = 0; round < 20; round++) {
      const { digest } = await place(`image ${round}`, 'app:1', 1000);
      await place(`image ${round}`, 'app:1', 1001);
      const options = { promiseDays: 30, mounted: new Set<string>(), settling: 0 };
      await Promise.all([1000, 1001].map((uid) => store.upkeep.remove('app:1', { uid, gids: [uid] }, options)));
      expect(isThere(digest)).toBe(false);
    }
  });
});
