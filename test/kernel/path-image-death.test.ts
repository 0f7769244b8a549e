// What takes part in making an image of a file is killed in the middle of it, or has no room: nothing is left, and the
// next launch makes it.
import { execFileSync } from 'node:child_process';
import { chmodSync, mkdirSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { v1 } from '../../src/protocol/index.js';
import { TestClient, TestDaemon } from './helpers/daemon.js';
import { program, Running } from './helpers/programs.js';
import { contentOf, findConverter, isRunning } from './import-tools.js';

const nobody = { uid: 65_534, gid: 65_534, gids: [65_534] };

/** Enough to be killed in the middle of it. */
const MEGABYTES = 100;

let daemon: TestDaemon;
let store: string;
let path: string;
beforeEach(async () => {
  daemon = new TestDaemon('compression_level = 1\n');
  store = join(daemon.directory, 'store');
  path = join(daemon.directory, 'app.tar');
  const tree = join(daemon.directory, 'tree');
  mkdirSync(tree);
  execFileSync('dd', ['if=/dev/urandom', `of=${tree}/noise`, 'bs=1M', `count=${MEGABYTES}`, 'status=none']);
  execFileSync('tar', ['-C', tree, '-cf', path, '.']);
  chmodSync(path, 0o644);
  await daemon.start();
});
afterEach(async () => {
  await daemon.remove();
});

let jobs = 6;

/** As a rank of a new job asks, whose answers end with a container or an error. */
async function launch(image = path): Promise<v1.Reply | undefined> {
  const client = await TestClient.open(daemon.socket);
  try {
    client.send({ launch: { ...nobody, jobId: ++jobs, stepId: 0, image, nodeName: 'n1' } });
    let reply = await client.reply();
    while (reply?.launchProgress) reply = await client.reply();
    return reply;
  } finally {
    client.socket.destroy();
  }
}

async function endJob(): Promise<void> {
  const client = await TestClient.open(daemon.socket);
  await client.ask({ jobEnd: { jobId: jobs } });
  client.socket.destroy();
}

/** Files of unfinished work, and those of images. */
const unfinished = (): string[] => ['tmp', 'leases'].flatMap((name) => readdirSync(join(store, name)));

/** Processes that run with this word in their command. */
function processesWith(word: string): number[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name) && isRunning(Number(name)))
    .map(Number)
    .filter((pid) => commandOf(pid).includes(word));
}

function commandOf(pid: number): string {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, 'utf8');
  } catch {
    return '';
  }
}

const reader = (): number[] => processesWith(`archive\0${path}\0`);

async function nothingLeft(): Promise<void> {
  await expect.poll(() => [...reader(), ...unfinished()]).toEqual([]);
}

async function succeeds(): Promise<void> {
  expect((await launch())?.launch?.image).toBe(path);
  expect(readdirSync(join(store, 'images/sha256')).filter((name) => name.endsWith('.squashfs'))).toHaveLength(1);
  expect(unfinished()).toEqual([]);
  await endJob();
}

describe('an image of a file is made by the next launch, and nothing is left, when', () => {
  it('berthd is killed: those that work for it die with it', async () => {
    const launched = launch();
    const converter = await findConverter(daemon.directory);
    await daemon.end('SIGKILL');
    await launched;
    await expect.poll(() => [converter, ...reader()].filter(isRunning)).toEqual([]);
    expect(unfinished()).not.toEqual([]);
    await daemon.start();
    await succeeds();
  });

  it('berthd is killed at any moment', { timeout: 60_000 }, async () => {
    for (const delay of [0, 50, 100, 200, 300, 400]) {
      const launched = launch();
      await sleep(delay);
      await daemon.end('SIGKILL');
      await launched;
      await expect.poll(reader).toEqual([]);
      await daemon.start();
    }
    await succeeds();
  });

  it('the converter is killed', async () => {
    const launched = launch();
    process.kill(await findConverter(daemon.directory), 'SIGKILL');
    const error = (await launched)?.error;
    expect(error?.code).toMatch(/^BERTH_(IMPORT_FAILED|FILE_UNUSABLE)$/);
    expect(error?.why).toMatch(/converter/);
    await nothingLeft();
    expect(contentOf(store).filter((name) => name.startsWith('images'))).toEqual([]);
    await succeeds();
  });

  it('the reader is killed', async () => {
    const launched = launch();
    await findConverter(daemon.directory);
    for (const pid of reader()) process.kill(pid, 'SIGKILL');
    expect((await launched)?.error).toMatchObject({
      code: 'BERTH_FILE_UNUSABLE',
      why: 'reading it was killed: is this node short of memory?',
    });
    await nothingLeft();
    await succeeds();
  });

  it('the opener is killed', async () => {
    const silent = join(daemon.directory, 'silent');
    mkdirSync(silent);
    const filesystem = await Running.start(program('silent-filesystem'), silent);
    try {
      expect(await filesystem.line()).toBe('mounted');
      const launched = launch(join(silent, 'app.tar'));
      expect(await filesystem.line()).toBe('asked');
      const openers = processesWith('berth-opener').filter((pid) => parentOf(pid) === daemon.pid);
      expect(openers).toHaveLength(1);
      for (const pid of openers) process.kill(pid, 'SIGKILL');
      // It waits for an answer that does not come, until the file system ends.
      await filesystem.stop('SIGKILL');
      expect((await launched)?.error).toMatchObject({
        code: 'BERTH_FILE_UNUSABLE',
        why: 'its opener ended without an answer',
      });
    } finally {
      await filesystem.stop('SIGKILL');
      execFileSync('umount', ['--lazy', silent]);
    }
    await succeeds();
  });

  it('the store is full', async () => {
    await daemon.end('SIGTERM');
    execFileSync('mount', ['-t', 'tmpfs', '-o', `mode=700,size=${MEGABYTES / 2}m`, 'full', store]);
    try {
      await daemon.start();
      expect((await launch())?.error?.code).toBe('BERTH_STORE_FULL');
      await nothingLeft();
      expect(contentOf(store).filter((name) => name.startsWith('images'))).toEqual([]);
      execFileSync('mount', ['-o', `remount,size=${2 * MEGABYTES}m`, store]);
      await succeeds();
    } finally {
      await daemon.end('SIGTERM');
      execFileSync('umount', ['--lazy', store]);
    }
  });
});

function parentOf(pid: number): number {
  return Number(/^PPid:\t(\d+)$/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1]);
}
