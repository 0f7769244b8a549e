import { existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { hostname, tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { ImageStore } from '../../src/image/index.js';

const HEX = 'ab'.repeat(32);
const OTHER = 'cd'.repeat(32);

let directory: string;
let path: string;
let store: ImageStore;

beforeEach(async () => {
  directory = mkdtempSync(join(tmpdir(), 'berth-keeping-'));
  path = join(directory, 'store');
  store = await ImageStore.open({ path, compressionLevel: 1 });
});

afterEach(() => {
  rmSync(directory, { recursive: true, force: true });
});

function uses(hex: string): string[] {
  return readdirSync(join(path, 'uses', hex)).filter((file) => file !== 'last');
}

describe('the store is told', () => {
  it('which jobs have an image mounted, until they end', async () => {
    await store.use(`sha256:${HEX}`, 7);
    await store.use(`sha256:${HEX}`, 8);
    expect(uses(HEX)).toEqual([`${hostname()}-7`, `${hostname()}-8`]);
    await store.unuse(`sha256:${HEX}`, 7);
    expect(uses(HEX)).toEqual([`${hostname()}-8`]);
    await store.unuse(`sha256:${HEX}`, 7);
  });

  it('when an image was last launched', async () => {
    expect(await store.lastUse(`sha256:${HEX}`)).toBe(0);
    const before = Math.floor(Date.now() / 1000);
    await store.use(`sha256:${HEX}`, 7);
    await store.unuse(`sha256:${HEX}`, 7);
    expect(await store.lastUse(`sha256:${HEX}`)).toBeGreaterThanOrEqual(before);
  });

  it('for which users jobs were submitted, and when the last', async () => {
    await store.promise(`sha256:${HEX}`, 1000);
    const file = join(path, 'promises', HEX, 'uid-1000');
    expect(Date.now() - statSync(file).mtimeMs).toBeLessThan(60_000);
    expect(statSync(join(file, '..')).mode & 0o777).toBe(0o700);
    await store.promise(`sha256:${HEX}`, 1000);
    expect(readdirSync(join(path, 'promises', HEX))).toEqual(['uid-1000']);
  });

  it('by nobody but a digest: no other text becomes part of a path', async () => {
    await expect(store.use('sha256:../../..', 7)).rejects.toMatchObject({ code: 'BERTH_STORE_UNUSABLE' });
    expect(existsSync(join(directory, `${hostname()}-7`))).toBe(false);
  });
});

describe('what a crashed node used', () => {
  it('is forgotten when its next daemon starts; what it still has, and other nodes, stay', async () => {
    await store.use(`sha256:${HEX}`, 7);
    await store.use(`sha256:${HEX}`, 8);
    await store.use(`sha256:${OTHER}`, 8);
    mkdirSync(join(path, 'uses', OTHER), { recursive: true });
    writeFileSync(join(path, 'uses', OTHER, `${hostname()}-2-9`), '');
    writeFileSync(join(path, 'uses', OTHER, 'another-node-8'), '');
    expect(await store.forgetUses(new Map([[`sha256:${HEX}`, new Set([8])]]))).toBe(2);
    expect(uses(HEX)).toEqual([`${hostname()}-8`]);
    expect(uses(OTHER)).toEqual(['another-node-8', `${hostname()}-2-9`]);
  });
});
