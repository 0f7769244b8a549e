import { execFileSync, spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, mkdirSync, mkdtempSync, openSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { ImageStore } from '../../src/image/index.js';
import { contentOf, findConverter, isRunning, makeFifo, noise, sha256sum } from './import-tools.js';

// A process that imports as berthd does, and is killed.

let directory: string;
let path: string;

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'berth-crash-'));
  path = join(directory, 'store');
});

afterEach(() => {
  rmSync(directory, { recursive: true, force: true });
});

function openStore(): Promise<ImageStore> {
  return ImageStore.open({ path, compressionLevel: 1 });
}

/** Imports what its descriptor 3 gives. Prints a line when the store is open. */
function startImport(archive: number, complete: string): ChildProcess {
  const script = `
    import { ImageStore } from ${JSON.stringify(join(import.meta.dirname, '../../src/image/index.ts'))};
    const store = await ImageStore.open({ path: ${JSON.stringify(path)}, compressionLevel: 1 });
    console.log('open');
    await store.importTar({ name: 'app', owner: 'site', source: 'a test', complete: ${complete} }, 3);`;
  const tsx = join(import.meta.dirname, '../../node_modules/tsx/dist/loader.mjs');
  return spawn(process.execPath, ['--import', tsx, '--input-type=module', '-e', script], {
    stdio: ['ignore', 'pipe', 'inherit', archive],
  });
}

async function kill(daemon: ChildProcess): Promise<void> {
  if (daemon.exitCode !== null) return;
  const exited = once(daemon, 'exit');
  daemon.kill('SIGKILL');
  await exited;
}

describe('when a daemon is killed in the middle of an import', () => {
  it('the converter dies with it, and the next daemon removes what is left', async () => {
    const { archive, writer } = makeFifo(directory);
    const daemon = startImport(archive, 'new Promise(() => {})');
    const converter = await findConverter(directory);
    closeSync(archive);
    await kill(daemon);
    await expect.poll(() => isRunning(converter)).toBe(false);
    expect(readdirSync(join(path, 'tmp'))).toHaveLength(1);
    const store = await openStore();
    expect(await store.recover()).toBe(1);
    expect(contentOf(path)).toEqual([]);
    closeSync(writer);
  });

  it('at whatever moment, its name leads to a whole image or to none', { timeout: 60_000 }, async () => {
    const rootfs = join(directory, 'rootfs');
    mkdirSync(rootfs);
    writeFileSync(join(rootfs, 'noise'), noise(4_000_000));
    const tar = join(directory, 'a.tar');
    execFileSync('tar', ['-C', rootfs, '-cf', tar, '.']);
    const outcomes = new Set<string>();
    // An import takes about 100 ms here; the last ones are long finished.
    for (const delay of [0, 10, 20, 30, 40, 50, 60, 70, 80, 90, 100, 120, 150, 400, 800]) {
      const archive = openSync(tar, 'r');
      const daemon = startImport(archive, 'Promise.resolve()');
      closeSync(archive);
      if (daemon.stdout) await once(daemon.stdout, 'data');
      await sleep(delay);
      await kill(daemon);
      outcomes.add(await stateOfStore());
      rmSync(path, { recursive: true });
    }
    expect([...outcomes].sort()).toEqual(['none', 'whole']);
  });
});

/** What a restarted daemon finds under the name; fails when there is anything in between. */
async function stateOfStore(): Promise<'none' | 'whole'> {
  const store = await openStore();
  await store.recover();
  expect(readdirSync(join(path, 'tmp'))).toEqual([]);
  const [record] = await store.list(0);
  if (!record) return 'none';
  closeSync(await store.openImage(record));
  expect(`sha256:${sha256sum(imageFile(record.digest))}`).toBe(record.digest);
  expect(await store.resolve(record.digest, 1000)).toEqual(record);
  return 'whole';
}

function imageFile(digest: string): string {
  return join(path, 'images/sha256', `${digest.slice('sha256:'.length)}.squashfs`);
}
