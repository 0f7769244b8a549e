import { execFileSync } from 'node:child_process';
import {
  chmodSync,
  closeSync,
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
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { ImageStore, type ImageRecord } from '../../src/image/index.js';
import { contentOf, findConverter, isRunning, makeFifo, noise, sha256sum } from './import-tools.js';

// Root, the converter and util-linux's real setpriv and unshare.

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

  it('leaves out device nodes, which no kernel is ever to open for its user', async () => {
    const store = await openStore();
    execFileSync('mknod', [join(rootfs, 'etc/zero'), 'c', '1', '5']);
    const record = await importFile(store, 'mine', makeTar('a.tar'));
    const listed = unsquash(imageFile(record)).join('\n');
    expect(listed).toContain('/etc/os-release');
    expect(listed).not.toContain('/etc/zero');
    expect(leftovers()).toEqual([]);
  });

  it('keeps an entry that leads out of the image inside of it', async () => {
    const archive = makeTar('a.tar', '--transform=s,etc,../etc,', '--absolute-names');
    const record = await importFile(await openStore(), 'mine', archive);
    expect(unsquash(imageFile(record)).join('\n')).toContain(' /etc/os-release');
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
      execFileSync('getfattr', [
        '--absolute-names',
        '--only-values',
        '-n',
        'user.note',
        join(unpacked, 'usr/bin/tool'),
      ]).toString(),
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
      /usr\/share\/noise.*cut short/,
    ],
    ['when the archive holds nothing', () => save('nothing', Buffer.alloc(10_240)), /the archive is empty/],
    ['when it is not an archive', () => save('junk', noise(40_000)), /this is no tar archive/],
  ];
  it.each(cases)('%s', async (_, archive, why) => {
    const store = await openStore();
    await expect(importFile(store, 'bad', archive())).rejects.toMatchObject({
      code: 'BERTH_IMPORT_FAILED',
      why: expect.stringMatching(why) as string,
    });
    expect(contentOf(storePath())).toEqual([]);
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
    expect(contentOf(storePath())).toEqual([]);
  });

  it('when the client goes away while the archive has not ended, and the converter goes with it', async () => {
    const store = await openStore();
    const { archive, writer } = makeFifo(directory);
    let leave: (error: Error) => void = () => undefined;
    const complete = new Promise<void>((_, reject) => {
      leave = reject;
    });
    const done = store.importTar({ name: 'bad', owner: 'site', source: 'a test', complete }, archive);
    const converter = await findConverter(directory);
    leave(new Error('interrupted'));
    await expect(done).rejects.toMatchObject({ why: 'the client gave up: interrupted' });
    expect(isRunning(converter)).toBe(false);
    closeSync(writer);
    expect(contentOf(storePath())).toEqual([]);
  });

  it('when the converter is killed', async () => {
    const store = await openStore();
    const { archive, writer } = makeFifo(directory);
    const done = store.importTar(
      { name: 'bad', owner: 'site', source: 'a test', complete: Promise.resolve() },
      archive,
    );
    const failure = expect(done).rejects.toMatchObject({
      code: 'BERTH_IMPORT_FAILED',
      why: expect.stringContaining('ended from outside') as string,
    });
    process.kill(await findConverter(directory), 'SIGKILL');
    await failure;
    closeSync(writer);
    expect(contentOf(storePath())).toEqual([]);
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
      expect(contentOf(full)).toEqual([]);
    } finally {
      execFileSync('umount', [full]);
    }
  });
});

describe('the converter', () => {
  it('is a user of its own, without capabilities, alone in its process and network namespaces, and cannot gain any', async () => {
    const store = await openStore();
    const { archive, writer } = makeFifo(directory);
    const done = store.importTar(
      { name: 'bad', owner: 'site', source: 'a test', complete: Promise.resolve() },
      archive,
    );
    const ended = expect(done).rejects.toMatchObject({
      why: expect.stringContaining('the archive is empty') as string,
    });
    const pid = await findConverter(directory);
    const status = new Map(
      readFileSync(`/proc/${pid}/status`, 'utf8')
        .split('\n')
        .map((line) => line.split(/:\s+/, 2) as [string, string]),
    );
    const values = ['Uid', 'Gid', 'Groups', 'CapInh', 'CapPrm', 'CapEff', 'CapBnd', 'CapAmb', 'NoNewPrivs'].map((key) =>
      (status.get(key) ?? '').trim(),
    );
    const none = '0000000000000000';
    const own = '65520\t65520\t65520\t65520';
    expect(values).toEqual([own, own, '', none, none, none, none, none, '1']);
    expect(status.get('NSpid')).toMatch(/\t1$/);
    for (const kind of ['pid', 'net', 'ipc', 'mnt']) {
      expect(readlinkSync(`/proc/${pid}/ns/${kind}`)).not.toBe(readlinkSync(`/proc/self/ns/${kind}`));
    }
    closeSync(writer);
    await ended;
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
