// Which users share images is noted for as long as they do, whatever a collection meets.
import { createHash } from 'node:crypto';
import { mkdtempSync, readdirSync, renameSync, rmSync, utimesSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { ImageStore } from '../../src/image/index.js';
import { holdImage } from '../../src/image/condemned.js';
import { Layout } from '../../src/image/layout.js';
import { publishNames } from '../../src/image/names.js';
import { forgetSharers } from '../../src/image/sharers.js';
import { currentOwner, makeTemporary } from '../../src/image/temporary.js';

const HOUR = 3_600_000;
const ALICE = { uid: 1, gids: [] };
const BOB = 1000;
const EVERYONE = { everyone: true, uids: [], gids: [] };
const NOBODY = { everyone: false, uids: [], gids: [] };

let directory: string;
let layout: Layout;
let store: ImageStore;

beforeEach(async () => {
  directory = mkdtempSync(join(tmpdir(), 'berth-sharers-'));
  layout = new Layout(join(directory, 'store'));
  store = await ImageStore.open({ path: layout.root, compressionLevel: 1 });
});

afterEach(() => {
  rmSync(directory, { recursive: true, force: true });
});

/** Alice's image of this content, under this name. */
async function place(content: string, name: string): Promise<void> {
  const temporary = await makeTemporary(layout.temporary, await currentOwner());
  const digest = `sha256:${createHash('sha256').update(content).digest('hex')}`;
  await holdImage(layout, digest, temporary);
  writeFileSync(layout.image(digest), content, { mode: 0o444 });
  const about = { name, digest, size: content.length, created: 1, source: 'a test', format: 'squashfs' } as const;
  await publishNames(layout, ALICE.uid, { ...about, owner: ALICE.uid }, temporary);
  rmSync(temporary, { recursive: true });
}

function collect({ dryRun = false } = {}): Promise<unknown> {
  return store.upkeep.collect({ dryRun, promiseDays: 30, layerCache: 0, mounted: new Set(), settling: 0 });
}

const noted = (): string[] => readdirSync(layout.shared);

/** Sets the time back at which what is noted was noted. */
function age(): void {
  const then = (Date.now() - 2 * HOUR) / 1000;
  for (const entry of noted()) utimesSync(join(layout.shared, entry), then, then);
}

const listed = async (): Promise<string[]> => (await store.listShared(BOB, [])).map(({ name }) => name);

describe('that a user shares is noted', () => {
  it('when they begin to, and not for taking back what was not shared', async () => {
    await place('app', 'app:1');
    await store.upkeep.share('app:1', NOBODY, ALICE);
    expect(noted()).toEqual([]);
    await store.upkeep.share('app:1', EVERYONE, ALICE);
    expect(noted()).toEqual(['uid-1']);
    expect(await listed()).toEqual(['app:1']);
  });

  it('for as long as they share something, however old it is', async () => {
    await place('app', 'app:1');
    await store.upkeep.share('app:1', { ...NOBODY, gids: [20] }, ALICE);
    age();
    await collect();
    expect(noted()).toEqual(['uid-1']);
  });

  it('no more when a collection finds that they share nothing', async () => {
    await place('app', 'app:1');
    await store.upkeep.share('app:1', EVERYONE, ALICE);
    await store.upkeep.share('app:1', NOBODY, ALICE);
    age();
    await collect({ dryRun: true });
    expect(noted()).toEqual(['uid-1']);
    await collect();
    expect(noted()).toEqual([]);
  });

  it('no more when they have no names', async () => {
    writeFileSync(layout.sharing(4242), '');
    age();
    await collect();
    expect(noted()).toEqual([]);
  });

  it('for an hour whatever they share: they may be about to', async () => {
    writeFileSync(layout.sharing(ALICE.uid), '');
    await collect();
    expect(noted()).toEqual(['uid-1']);
  });

  it('anew by another name of what is shared, and by a new image under a name that is', async () => {
    await place('app', 'app:1');
    await store.upkeep.share('app:1', EVERYONE, ALICE);
    rmSync(layout.sharing(ALICE.uid));
    await store.upkeep.tag('app:1', 'app:2', ALICE, ALICE.uid);
    expect(noted()).toEqual(['uid-1']);
    rmSync(layout.sharing(ALICE.uid));
    await place('newer', 'app:1');
    expect(noted()).toEqual(['uid-1']);
    expect((await listed()).sort()).toEqual(['app:1', 'app:2']);
  });
});

describe('a collector that was killed', () => {
  it('loses nobody whom it had set aside', async () => {
    await place('app', 'app:1');
    await store.upkeep.share('app:1', EVERYONE, ALICE);
    renameSync(layout.sharing(ALICE.uid), `${layout.sharing(ALICE.uid)}.0123456789abcdef`);
    expect(await listed()).toEqual(['app:1']);
    age();
    await collect();
    expect(await listed()).toEqual(['app:1']);
    await store.upkeep.share('app:1', EVERYONE, ALICE);
    expect(await listed()).toEqual(['app:1']);
    await store.upkeep.share('app:1', NOBODY, ALICE);
    age();
    await collect();
    expect(noted()).toEqual([]);
  });
});

describe('at the same moment', () => {
  it('a collector that has found nothing and one who shares then: what is shared is listed', async () => {
    await place('app', 'app:1');
    writeFileSync(layout.sharing(ALICE.uid), '');
    age();
    await forgetSharers(layout, Date.now(), async () => {
      await store.upkeep.share('app:1', EVERYONE, ALICE);
      return false;
    });
    expect(noted()).toEqual(['uid-1']);
    expect(await listed()).toEqual(['app:1']);
  });

  it('two collectors that have found nothing: the note goes, and neither minds', async () => {
    writeFileSync(layout.sharing(ALICE.uid), '');
    age();
    await forgetSharers(layout, Date.now(), async () => {
      await collect();
      return false;
    });
    expect(noted()).toEqual([]);
  });

  it('collectors on four hosts and one who shares: what is shared is listed', async () => {
    await place('app', 'app:1');
    for (let round = 0; round < 30; round++) {
      await store.upkeep.share('app:1', NOBODY, ALICE);
      writeFileSync(layout.sharing(ALICE.uid), '');
      age();
      const collecting = Array.from({ length: 4 }, () => collect());
      // Later each time, up to when they have ended.
      for (let turn = 0; turn < round * 8; turn++) await new Promise(setImmediate);
      await store.upkeep.share('app:1', EVERYONE, ALICE);
      await Promise.all(collecting);
      expect(await listed()).toEqual(['app:1']);
      age();
      await collect();
      expect(await listed()).toEqual(['app:1']);
    }
  });
});
