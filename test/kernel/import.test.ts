import { execFileSync, spawn, type ChildProcess } from 'node:child_process';
import {
  chmodSync,
  closeSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
  readlinkSync,
} from 'node:fs';
import { once } from 'node:events';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { ImageStore, type ImageRecord } from '../../src/image/index.js';

// Root, tar2sqfs and util-linux's real setpriv and unshare.

let directory: string;
let rootfs: string;

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'berth-import-'));
  rootfs = join(directory, 'rootfs');
  for (const part of ['etc', 'usr/bin', 'usr/share/doc']) mkdirSync(join(rootfs, part), { recursive: true });
  writeFileSync(join(rootfs, 'etc/os-release'), 'ID=test\n');
  writeFileSync(join(rootfs, 'usr/bin/tool'), '#!/bin/sh\nexit 0\n', { mode: 0o755 });
  writeFileSync(join(rootfs, 'usr/share/noise'), noise(3_000_000));
});

afterEach(() => {
  rmSync(directory, { recursive: true, force: true });
});

describe('an import', () => {
  it('makes a squashfs of the archive that root alone could have written, under its digest', async () => {
    const store = await openStore();
    const record = await importFile(store, 'debian:12', makeTar('a.tar', '--owner=root:0', '--group=root:0'));
    expect(record).toMatchObject({ name: 'debian:12', owner: 'site', source: 'a test', format: 'squashfs' });
    const file = imageFile(record);
    const stat = statSync(file);
    expect({ uid: stat.uid, gid: stat.gid, mode: stat.mode & 0o7777, size: stat.size }).toEqual({
      uid: 0,
      gid: 0,
      mode: 0o444,
      size: record.size,
    });
    expect(`sha256:${sha256sum(file)}`).toBe(record.digest);
    expect(unsquash(file)).toEqual([
      'drwxr-xr-x 0/0 /',
      'drwxr-xr-x 0/0 /etc',
      '-rw-r--r-- 0/0 /etc/os-release',
      'drwxr-xr-x 0/0 /usr',
      'drwxr-xr-x 0/0 /usr/bin',
      '-rwxr-xr-x 0/0 /usr/bin/tool',
      'drwxr-xr-x 0/0 /usr/share',
      'drwxr-xr-x 0/0 /usr/share/doc',
      '-rw-r--r-- 0/0 /usr/share/noise',
    ]);
    expect(leftovers()).toEqual([]);
  });

  it("keeps owners, the root directory's own mode, extended attributes, hard links and sparse files", async () => {
    execFileSync('chown', ['1000:1001', join(rootfs, 'etc/os-release')]);
    execFileSync('setfattr', ['-n', 'user.note', '-v', 'kept', join(rootfs, 'usr/bin/tool')]);
    execFileSync('ln', [join(rootfs, 'usr/bin/tool'), join(rootfs, 'usr/bin/again')]);
    writeFileSync(join(rootfs, 'sparse'), 'begin');
    truncateSync(join(rootfs, 'sparse'), 200_000_000);
    chmodSync(rootfs, 0o555);
    const record = await importFile(
      await openStore(),
      'kept',
      makeTar('a.tar', '--sparse', '--xattrs', '--format=pax'),
    );
    const unpacked = join(directory, 'unpacked');
    execFileSync('unsquashfs', ['-quiet', '-no-progress', '-dest', unpacked, imageFile(record)], { stdio: 'ignore' });
    expect(statSync(unpacked).mode & 0o777).toBe(0o555);
    const owned = statSync(join(unpacked, 'etc/os-release'));
    expect([owned.uid, owned.gid]).toEqual([1000, 1001]);
    expect(statSync(join(unpacked, 'usr/bin/again')).ino).toBe(statSync(join(unpacked, 'usr/bin/tool')).ino);
    expect(
      execFileSync('getfattr', ['--only-values', '-n', 'user.note', join(unpacked, 'usr/bin/tool')]).toString(),
    ).toBe('kept');
    expect(statSync(join(unpacked, 'sparse')).size).toBe(200_000_000);
    chmodSync(rootfs, 0o755);
  });

  it('of the same archive gives the same digest and one file, which stays in place', async () => {
    const store = await openStore();
    const archive = makeTar('a.tar');
    const first = await importFile(store, 'one', archive);
    const { ino } = statSync(imageFile(first));
    const second = await importFile(store, 'two:v2', archive);
    expect(second.digest).toBe(first.digest);
    expect(statSync(imageFile(second)).ino).toBe(ino);
    expect((await store.list(0)).map(({ name }) => name)).toEqual(['one:latest', 'two:v2']);
  });

  it('mends a damaged image file', async () => {
    const store = await openStore();
    const archive = makeTar('a.tar');
    const record = await importFile(store, 'one', archive);
    chmodSync(imageFile(record), 0o644);
    writeFileSync(imageFile(record), 'damage', { flag: 'r+' });
    chmodSync(imageFile(record), 0o444);
    await importFile(store, 'one', archive);
    expect(`sha256:${sha256sum(imageFile(record))}`).toBe(record.digest);
  });

  it('gives a taken name to the new image, and leaves the old one its digest', async () => {
    const store = await openStore();
    const old = await importFile(store, 'app', makeTar('a.tar'));
    writeFileSync(join(rootfs, 'etc/os-release'), 'ID=other\n');
    const renewed = await importFile(store, 'app', makeTar('b.tar'));
    expect(await store.resolve('app', 1000)).toEqual(renewed);
    expect(await store.resolve(old.digest, 1000)).toEqual(old);
    expect((await store.list(0)).map(({ digest }) => digest)).toEqual([renewed.digest]);
  });

  it("shows a user's image to that user alone, by name and by digest", async () => {
    const store = await openStore();
    const record = await importFile(store, 'mine', makeTar('a.tar'), 1000);
    expect(await store.resolve('mine', 1000)).toEqual(record);
    await expect(store.resolve('mine', 1001)).rejects.toMatchObject({ code: 'BERTH_IMAGE_UNKNOWN' });
    await expect(store.resolve(record.digest, 1001)).rejects.toMatchObject({ code: 'BERTH_IMAGE_UNKNOWN' });
    expect(await store.list(1001)).toEqual([]);
  });
});

describe('a failed import leaves the store as it was', () => {
  const cases: [string, () => string, RegExp][] = [
    [
      'when the archive stops in the middle of a file',
      () => cut(makeTar('a.tar'), 1_000_000),
      /tar2sqfs: .*unexpected end-of-file/,
    ],
    [
      'when the archive holds nothing',
      () => save('nothing', Buffer.alloc(10_240)),
      /nothing but an empty root directory/,
    ],
    ['when it is not an archive', () => save('junk', noise(40_000)), /tar2sqfs: .*not a ustar tar archive/],
    [
      'when an entry leads out of the image',
      () => makeTar('a.tar', '--transform=s,etc,../etc,', '--absolute-names'),
      /tar2sqfs: /,
    ],
  ];
  it.each(cases)('%s', async (_, archive, why) => {
    const store = await openStore();
    await expect(importFile(store, 'bad', archive())).rejects.toMatchObject({
      code: 'BERTH_IMPORT_FAILED',
      why: expect.stringMatching(why) as string,
    });
    expect(everything()).toEqual([]);
  });

  it('when the client goes away before it has said that the archive is whole', async () => {
    const store = await openStore();
    const archive = openSync(makeTar('a.tar'), 'r');
    const complete = Promise.reject(new Error('it closed the connection'));
    await expect(
      store.importTar({ name: 'bad', owner: 'site', source: 'a test', complete }, archive),
    ).rejects.toMatchObject({
      code: 'BERTH_IMPORT_FAILED',
      why: 'the client gave up: it closed the connection',
    });
    expect(everything()).toEqual([]);
  });

  it('when the client goes away while the archive has not ended, and the converter goes with it', async () => {
    const store = await openStore();
    const { archive, writer } = fifo();
    let leave: (error: Error) => void = () => undefined;
    const complete = new Promise<void>((_, reject) => {
      leave = reject;
    });
    const done = store.importTar({ name: 'bad', owner: 'site', source: 'a test', complete }, archive);
    const converter = await findConverter();
    leave(new Error('interrupted'));
    await expect(done).rejects.toMatchObject({ why: 'the client gave up: interrupted' });
    expect(isRunning(converter)).toBe(false);
    closeSync(writer);
    expect(everything()).toEqual([]);
  });

  it('when the converter is killed', async () => {
    const store = await openStore();
    const { archive, writer } = fifo();
    const done = store.importTar(
      { name: 'bad', owner: 'site', source: 'a test', complete: Promise.resolve() },
      archive,
    );
    const failure = expect(done).rejects.toMatchObject({
      code: 'BERTH_IMPORT_FAILED',
      why: expect.stringContaining('ended from outside') as string,
    });
    process.kill(await findConverter(), 'SIGKILL');
    await failure;
    closeSync(writer);
    expect(everything()).toEqual([]);
  });

  it('when the store is full', async () => {
    const full = join(directory, 'full');
    mkdirSync(full, { mode: 0o700 });
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=2m,mode=700', 'berth-test', full]);
    try {
      const store = await ImageStore.open({ path: full, compressionLevel: 1 });
      await expect(importFile(store, 'bad', makeTar('a.tar'))).rejects.toMatchObject({
        code: 'BERTH_STORE_FULL',
        what: `the image store ${full} is full`,
      });
      expect(everything(full)).toEqual([]);
    } finally {
      execFileSync('umount', [full]);
    }
  });
});

describe('the converter', () => {
  it('is nobody, without capabilities, alone in its process and network namespaces, and cannot gain any', async () => {
    const store = await openStore();
    const { archive, writer } = fifo();
    const done = store.importTar(
      { name: 'bad', owner: 'site', source: 'a test', complete: Promise.resolve() },
      archive,
    );
    const ended = expect(done).rejects.toMatchObject({
      why: expect.stringContaining('empty root directory') as string,
    });
    const pid = await findConverter();
    const status = new Map(
      readFileSync(`/proc/${pid}/status`, 'utf8')
        .split('\n')
        .map((line) => line.split(/:\s+/, 2) as [string, string]),
    );
    const values = ['Uid', 'Gid', 'Groups', 'CapInh', 'CapPrm', 'CapEff', 'CapBnd', 'CapAmb', 'NoNewPrivs'].map((key) =>
      (status.get(key) ?? '').trim(),
    );
    const none = '0000000000000000';
    const nobody = '65534\t65534\t65534\t65534';
    expect(values).toEqual([nobody, nobody, '', none, none, none, none, none, '1']);
    expect(status.get('NSpid')).toMatch(/\t1$/);
    for (const kind of ['pid', 'net', 'ipc', 'mnt']) {
      expect(readlinkSync(`/proc/${pid}/ns/${kind}`)).not.toBe(readlinkSync(`/proc/self/ns/${kind}`));
    }
    closeSync(writer);
    await ended;
  });

  it('dies with the daemon, whose successor removes what is left', async () => {
    const { archive, writer } = fifo();
    const path = storePath();
    const script = `
      import { ImageStore } from '${join(import.meta.dirname, '../../src/image/index.ts')}';
      const store = await ImageStore.open({ path: ${JSON.stringify(path)}, compressionLevel: 9 });
      await store.importTar({ name: 'bad', owner: 'site', source: 'a test', complete: new Promise(() => {}) }, 3);`;
    const tsx = join(import.meta.dirname, '../../node_modules/tsx/dist/loader.mjs');
    const daemon = spawn(process.execPath, ['--import', tsx, '--input-type=module', '-e', script], {
      stdio: ['ignore', 'inherit', 'inherit', archive],
    });
    const converter = await findConverter();
    closeSync(archive);
    await kill(daemon);
    await expect.poll(() => isRunning(converter)).toBe(false);
    expect(leftovers()).toHaveLength(1);
    const store = await openStore();
    expect(await store.recover()).toBe(1);
    expect(everything()).toEqual([]);
    closeSync(writer);
  });
});

function storePath(): string {
  return join(directory, 'store');
}

function openStore(): Promise<ImageStore> {
  return ImageStore.open({ path: storePath(), compressionLevel: 3 });
}

function importFile(
  store: ImageStore,
  name: string,
  archive: string,
  owner: 'site' | number = 'site',
): Promise<ImageRecord> {
  return store.importTar({ name, owner, source: 'a test', complete: Promise.resolve() }, openSync(archive, 'r'));
}

function imageFile({ digest }: ImageRecord): string {
  return join(storePath(), 'images', 'sha256', `${digest.slice('sha256:'.length)}.squashfs`);
}

/** Everything in the store that is not one of its own directories. */
function everything(path = storePath()): string[] {
  const own = ['images', 'images/sha256', 'refs', 'refs/site', 'tmp'];
  return (readdirSync(path, { recursive: true }) as string[]).filter((entry) => !own.includes(entry));
}

function leftovers(): string[] {
  return readdirSync(join(storePath(), 'tmp'));
}

function makeTar(name: string, ...options: string[]): string {
  const path = join(directory, name);
  execFileSync('tar', ['--create', `--file=${path}`, `--directory=${rootfs}`, '--numeric-owner', ...options, '.']);
  return path;
}

function cut(path: string, bytes: number): string {
  truncateSync(path, bytes);
  return path;
}

function save(name: string, content: Buffer): string {
  writeFileSync(join(directory, name), content);
  return join(directory, name);
}

/** Bytes that do not compress. */
function noise(length: number): Buffer {
  const bytes = Buffer.alloc(length);
  let state = 1;
  for (let i = 0; i < length; i++) {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    bytes[i] = state >>> 24;
  }
  return bytes;
}

/** An archive that has not ended, and never says so until its writer is closed. */
function fifo(): { archive: number; writer: number } {
  const path = join(directory, 'fifo');
  execFileSync('mkfifo', [path]);
  const both = openSync(path, 'r+');
  const archive = openSync(path, 'r');
  const writer = openSync(path, 'w');
  closeSync(both);
  return { archive, writer };
}

/** The pid of the tar2sqfs that works in this test's store. */
async function findConverter(): Promise<number> {
  const deadline = Date.now() + 10_000;
  while (Date.now() < deadline) {
    for (const pid of readdirSync('/proc').filter((entry) => /^\d+$/.test(entry))) {
      if (isOurConverter(pid)) return Number(pid);
    }
    await sleep(10);
  }
  throw new Error('no converter was started');
}

function isOurConverter(pid: string): boolean {
  try {
    return (
      readFileSync(`/proc/${pid}/comm`, 'utf8') === 'tar2sqfs\n' &&
      readlinkSync(`/proc/${pid}/cwd`).startsWith(directory)
    );
  } catch {
    return false;
  }
}

/** A zombie that nobody has waited for is not running. */
function isRunning(pid: number): boolean {
  if (!existsSync(`/proc/${pid}/stat`)) return false;
  const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
  return stat.slice(stat.lastIndexOf(')') + 2, stat.lastIndexOf(')') + 3) !== 'Z';
}

async function kill(child: ChildProcess): Promise<void> {
  const exited = once(child, 'exit');
  child.kill('SIGKILL');
  await exited;
}

function sha256sum(path: string): string {
  return execFileSync('sha256sum', [path]).toString().slice(0, 64);
}

function unsquash(path: string): string[] {
  return execFileSync('unsquashfs', ['-lln', path])
    .toString()
    .trim()
    .split('\n')
    .map((line) => {
      const [mode = '', owner = '', , , , name = ''] = line.split(/\s+/);
      return `${mode} ${owner} ${name.replace(/^squashfs-root/, '') || '/'}`;
    });
}
