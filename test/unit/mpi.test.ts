// The host's MPI in a container: what it consists of, and which images it fits.
import { closeSync, mkdirSync, openSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { checkMpi } from '../../src/modules/mpi/check.js';
import { NotLibrary, readLibrary, type Library } from '../../src/modules/mpi/elf.js';
import { HostMpiFinder } from '../../src/modules/mpi/host.js';
import { readLinkerCache } from '../../src/modules/mpi/linker-cache.js';
import { Modules } from '../../src/modules/index.js';
import { compareVersions, highest, isRuntime } from '../../src/modules/mpi/runtime.js';
import { LibrarySearch } from '../../src/modules/mpi/search.js';
import { LibraryRoot } from '../images/libraries.js';

let host: LibraryRoot;
let image: LibraryRoot;
beforeEach(() => {
  host = new LibraryRoot();
  image = new LibraryRoot();
});
afterEach(() => {
  host.remove();
  image.remove();
});

const X86_64 = 62;
const NO_MORE = { aliases: [], components: [], keep: [], check: 'version' } as const;

async function read(path: string): Promise<Library> {
  const descriptor = openSync(path, 'r');
  try {
    return await readLibrary(descriptor);
  } finally {
    closeSync(descriptor);
  }
}

describe('a library', () => {
  it('says what it is called, what it needs, and which versions it has', async () => {
    const libc = host.add('libc.so.6', { soname: 'libc.so.6', defines: ['GLIBC_2.2.5', 'GLIBC_2.34'] });
    const path = host.add('libx.so.1', {
      soname: 'libx.so.1',
      runpath: '$ORIGIN/sub:/opt/lib',
      uses: [{ path: libc, versions: ['GLIBC_2.2.5', 'GLIBC_2.34'] }],
    });
    const found = await read(path);
    expect(found).toMatchObject({
      soname: 'libx.so.1',
      needed: ['libc.so.6'],
      runpath: ['$ORIGIN/sub', '/opt/lib'],
    });
    expect([...(found.needs.get('libc.so.6') ?? [])].sort()).toEqual(['GLIBC_2.2.5', 'GLIBC_2.34']);
    expect((await read(libc)).defines).toEqual(['libc.so.6', 'GLIBC_2.2.5', 'GLIBC_2.34']);
  });

  it('of this machine is read as its own tools read it', async () => {
    const libc = await read('/lib/x86_64-linux-gnu/libc.so.6');
    expect(libc).toMatchObject({ machine: X86_64, soname: 'libc.so.6' });
    expect(highest(libc.defines, 'GLIBC')).toMatch(/^GLIBC_2\.\d+$/);
  });

  it('that is none, or was cut or made up, is refused and harms nothing', async () => {
    const path = host.add('libx.so.1', { soname: 'libx.so.1', defines: ['X_1'] });
    const whole = readFileSync(path);
    const other = join(host.path, 'other');
    writeFileSync(other, '#!/bin/sh\n');
    await expect(read(other)).rejects.toThrow(NotLibrary);
    for (let length = 0; length < 4096; length += 37) {
      writeFileSync(other, whole.subarray(0, length));
      await expect(read(other)).rejects.toThrow(NotLibrary);
    }
    // Every byte of the headers and of the dynamic section, changed in turn.
    const dynamic = whole.indexOf(Buffer.from([14, 0, 0, 0, 0, 0, 0, 0]));
    for (const [start, end] of [
      [16, 512],
      [dynamic - 128, dynamic + 256],
    ] as const) {
      for (let at = start; at < end; at++) {
        const changed = Buffer.from(whole);
        changed[at] = (changed[at] ?? 0) ^ 0xff;
        writeFileSync(other, changed);
        await read(other).catch((error: unknown) => expect(error).toBeInstanceOf(NotLibrary));
      }
    }
  });
});

describe("the linker's cache", () => {
  it('says where libraries are', () => {
    host.add('opt/lib/libx.so.1', { soname: 'libx.so.1' });
    host.cache('/opt/lib');
    const cache = readLinkerCache(readFileSync(join(host.path, 'etc/ld.so.cache')));
    expect(cache.get('libx.so.1')).toEqual(['/opt/lib/libx.so.1']);
  });

  it('that is none, or was cut, says nothing', () => {
    host.add('opt/lib/libx.so.1', { soname: 'libx.so.1' });
    host.cache('/opt/lib');
    const whole = readFileSync(join(host.path, 'etc/ld.so.cache'));
    expect(readLinkerCache(Buffer.from('nothing')).size).toBe(0);
    for (let length = 0; length < whole.length; length++) readLinkerCache(whole.subarray(0, length));
  });
});

describe('a search for libraries', () => {
  it("goes through LD_LIBRARY_PATH, the library's own path, the cache, or without one the usual directories", async () => {
    for (const directory of ['first', 'own', 'cached', 'usr/lib'])
      image.add(`${directory}/libx.so.1`, { soname: 'libx.so.1' });
    image.cache('/cached');
    const find = async (first: readonly string[]): Promise<string | undefined> => {
      const search = new LibrarySearch(image.files, first);
      return (await search.find('libx.so.1', { directory: '/opt', runpath: ['$ORIGIN/../own'] }))?.path;
    };
    expect(await find(['/first'])).toBe('/first/libx.so.1');
    expect(await find([])).toBe('/opt/../own/libx.so.1');
    rmSync(join(image.path, 'own'), { recursive: true });
    expect(await find([])).toBe('/cached/libx.so.1');
    rmSync(join(image.path, 'etc'), { recursive: true });
    expect(await find([])).toBe('/usr/lib/libx.so.1');
    rmSync(join(image.path, 'usr'), { recursive: true });
    expect(await find([])).toBeUndefined();
  });

  it('passes over what is no library', async () => {
    mkdirSync(join(image.path, 'first'));
    writeFileSync(join(image.path, 'first/libx.so.1'), 'INPUT(libx.so)');
    image.add('usr/lib/libx.so.1', { soname: 'libx.so.1' });
    const found = await new LibrarySearch(image.files, ['/first']).find('libx.so.1');
    expect(found?.path).toBe('/usr/lib/libx.so.1');
  });
});

describe("the host's MPI", () => {
  it('is its libraries by each of their names, and what they need, without the C runtime', async () => {
    const libc = host.add('libc.so.6', { soname: 'libc.so.6', defines: ['GLIBC_2.34'] });
    const deep = host.add('deep/libdeep.so.1', {
      soname: 'libdeep.so.1',
      uses: [{ path: libc, versions: ['GLIBC_2.34'] }],
    });
    const net = host.add('libnet.so.2', { soname: 'libnet.so.2', uses: [{ path: deep }], runpath: '$ORIGIN/deep' });
    const mpi = host.add('libmpi.so.12', {
      soname: 'libmpich.so.12',
      uses: [{ path: net }, { path: libc }],
      runpath: '$ORIGIN',
    });
    const finder = new HostMpiFinder();
    const found = await finder.find({ ...NO_MORE, libraries: [mpi] });
    expect([...found.libraries.keys()]).toEqual(['libmpi.so.12', 'libmpich.so.12']);
    expect([...found.dependencies.keys()]).toEqual(['libnet.so.2', 'libdeep.so.1']);
    expect(found.needs).toEqual([{ library: 'libc.so.6', version: 'GLIBC_2.34', by: 'libdeep.so.1' }]);
    expect(await finder.find({ ...NO_MORE, libraries: [mpi] })).toBe(found);
    host.add('libmpi.so.12', { soname: 'libmpi.so.12' });
    expect([...(await finder.find({ ...NO_MORE, libraries: [mpi] })).libraries.keys()]).toEqual(['libmpi.so.12']);
  });

  it('is there under other names too, where the site says so', async () => {
    const mpi = host.add('libmpich.so.12', { soname: 'libmpich.so.12' });
    const found = await new HostMpiFinder().find({ ...NO_MORE, libraries: [mpi], aliases: ['libmpi.so.12'] });
    expect([...found.libraries].map(([name, { path }]) => [name, path])).toEqual([
      ['libmpich.so.12', mpi],
      ['libmpi.so.12', mpi],
    ]);
  });

  it('has with it what its components need, and not what the site keeps', async () => {
    const kept = host.add('libz.so.1', { soname: 'libz.so.1', defines: ['ZLIB_1.2'] });
    const fabric = host.add('libfabric.so.1', {
      soname: 'libfabric.so.1',
      uses: [{ path: kept, versions: ['ZLIB_1.2'] }],
    });
    host.add('parts/mca_net.so', { uses: [{ path: fabric }], runpath: host.path });
    const mpi = host.add('libmpi.so.40', { soname: 'libmpi.so.40' });
    const components = [join(host.path, 'parts')];
    const found = await new HostMpiFinder().find({
      aliases: [],
      libraries: [mpi],
      components,
      keep: ['libz.so.1'],
      check: 'version',
    });
    expect([...found.dependencies.keys()]).toEqual(['libfabric.so.1']);
    expect(found.needs).toEqual([{ library: 'libz.so.1', version: 'ZLIB_1.2', by: 'libfabric.so.1' }]);
  });

  it('is not used when a part of it is missing', async () => {
    const net = host.add('libnet.so.2', { soname: 'libnet.so.2' });
    const mpi = host.add('libmpi.so.12', { soname: 'libmpi.so.12', uses: [{ path: net }] });
    await expect(new HostMpiFinder().find({ ...NO_MORE, libraries: [mpi] })).rejects.toThrow(
      `${mpi} needs libnet.so.2, which is not there`,
    );
    await expect(new HostMpiFinder().find({ ...NO_MORE, libraries: ['/nowhere/libmpi.so'] })).rejects.toThrow(
      'is not there',
    );
  });
});

describe('the check of an image', () => {
  /** The host's MPI: libmpi.so.12.AGE.0, for a libc with GLIBC_2.34. */
  async function check(
    age: number,
    options: { readonly how?: 'version' | 'soname'; readonly searchPath?: readonly string[] } = {},
  ): Promise<void> {
    const { how = 'version', searchPath = [] } = options;
    const libc = host.add('libc.so.6', { soname: 'libc.so.6', defines: ['GLIBC_2.2.5', 'GLIBC_2.34'] });
    host.add(`libmpi.so.12.${age}.0`, {
      soname: 'libmpi.so.12',
      uses: [{ path: libc, versions: ['GLIBC_2.2.5', 'GLIBC_2.34'] }],
    });
    host.link('libmpi.so.12', `libmpi.so.12.${age}.0`);
    const found = await new HostMpiFinder().find({ ...NO_MORE, libraries: [join(host.path, 'libmpi.so.12')] });
    await checkMpi({ module: 'mpich', host: found, check: how }, image.files, searchPath);
  }

  function giveMpi(file: string, soname: string, directory = 'usr/lib'): void {
    image.add(`${directory}/${file}`, { soname });
    if (file !== soname) image.link(`${directory}/${soname}`, file);
  }

  beforeEach(() => {
    image.add('usr/lib/libc.so.6', { soname: 'libc.so.6', defines: ['GLIBC_2.2.5', 'GLIBC_2.34', 'GLIBC_2.36'] });
  });

  it("passes one whose MPI is of the same ABI, and not newer than the host's", async () => {
    giveMpi('libmpi.so.12.1.8', 'libmpi.so.12');
    await check(2);
  });

  it('passes one without an MPI: its programs were linked elsewhere', async () => {
    await check(2);
  });

  it('refuses one whose MPI has another ABI, and names both', async () => {
    giveMpi('libmpi.so.40.30.4', 'libmpi.so.40');
    image.cache('/usr/lib');
    await expect(check(2)).rejects.toMatchObject({
      code: 'BERTH_MPI_ABI',
      what: "the host's MPI (libmpi.so.12.2.0), which the module mpich brings, does not fit the image's (libmpi.so.40.30.4)",
      why: 'programs of the image ask for libmpi.so.40, which has another ABI',
    });
  });

  it('finds one that only its LD_LIBRARY_PATH leads to', async () => {
    giveMpi('libmpi.so.40.30.4', 'libmpi.so.40', 'opt/openmpi/lib');
    await check(2);
    await expect(check(2, { searchPath: ['/opt/openmpi/lib'] })).rejects.toMatchObject({ code: 'BERTH_MPI_ABI' });
  });

  it('passes one that has an MPI of either kind', async () => {
    giveMpi('libmpi.so.40.30.4', 'libmpi.so.40');
    giveMpi('libmpi.so.12.1.8', 'libmpi.so.12');
    await check(2);
  });

  it('refuses one whose MPI has interfaces that the host has not, unless the site trusts the soname alone', async () => {
    giveMpi('libmpi.so.12.3.1', 'libmpi.so.12');
    await expect(check(2)).rejects.toMatchObject({
      code: 'BERTH_MPI_ABI',
      what: "the host's MPI (libmpi.so.12.2.0), which the module mpich brings, does not fit the image's (libmpi.so.12.3.1)",
      why: "as libmpi.so.12, the image's has interfaces up to 3, the host's only up to 2",
    });
    await check(2, { how: 'soname' });
  });

  it("refuses one whose C library is older than what the host's MPI was built for, and names both", async () => {
    image.add('usr/lib/libc.so.6', { soname: 'libc.so.6', defines: ['GLIBC_2.2.5', 'GLIBC_2.31'] });
    await expect(check(2)).rejects.toMatchObject({
      code: 'BERTH_MPI_GLIBC',
      what: "the host's MPI, which the module mpich brings, needs GLIBC_2.34 of libc.so.6, and the image has GLIBC_2.31",
      why: "libmpi.so.12.2.0 of the host was built for it, and programs have the image's libc.so.6",
    });
  });

  it('refuses one without the GNU C library', async () => {
    rmSync(join(image.path, 'usr/lib/libc.so.6'));
    image.add('lib/libc.musl-x86_64.so.1', { soname: 'libc.musl-x86_64.so.1' });
    await expect(check(2)).rejects.toMatchObject({
      code: 'BERTH_MPI_GLIBC',
      what: expect.stringContaining('the image has no libc.so.6') as string,
    });
  });
});

describe('a container that fits', () => {
  it('is looked into once, as long as neither it nor the host changes', async () => {
    host.add('libmpi.so.12', { soname: 'libmpi.so.12' });
    mkdirSync(join(host.path, 'modules.d'));
    writeFileSync(join(host.path, 'modules.d/m.toml'), `[mpi]\nlibraries = ["${host.path}/libmpi.so.12"]\n`);
    const modules = new Modules({ directory: join(host.path, 'modules.d'), default: ['m'], cdiDirectories: [] });
    const request = { chosen: undefined, host: 'n1', pid: undefined, user: 'alice', uid: 1, home: '/', jobId: 1 };
    const opened = async (identity: string | undefined): Promise<number> => {
      let count = 0;
      const open = (path: string): Promise<number | undefined> => {
        count++;
        return image.files.open(path);
      };
      const { checks } = await modules.contribute(request);
      for (const { run } of checks) await run({ files: { open }, searchPath: [], identity });
      return count;
    };
    expect(await opened('one')).toBeGreaterThan(0);
    expect(await opened('one')).toBe(0);
    expect(await opened('another')).toBeGreaterThan(0);
    expect(await opened(undefined)).toBeGreaterThan(0);
    expect(await opened(undefined)).toBeGreaterThan(0);
    host.add('libmpi.so.12', { soname: 'libmpi.so.12', defines: ['MPI_1'] });
    expect(await opened('one')).toBeGreaterThan(0);
  });
});

describe('versions', () => {
  it('are in the order of their numbers', () => {
    expect(['GLIBC_2.34', 'GLIBC_2.4', 'GLIBC_2.2.5'].toSorted(compareVersions)).toEqual([
      'GLIBC_2.2.5',
      'GLIBC_2.4',
      'GLIBC_2.34',
    ]);
    expect(highest(['GLIBC_2.9', 'GLIBC_2.10', 'GLIBC_PRIVATE'], 'GLIBC')).toBe('GLIBC_2.10');
    expect(highest(['A_1'], 'GLIBC')).toBeUndefined();
  });

  it.each([
    ['libc.so.6', true],
    ['libstdc++.so.6', true],
    ['ld-linux-x86-64.so.2', true],
    ['libcxi.so.1', false],
    ['libmpi.so.12', false],
  ])('of %s are the container’s own: %s', (name, kept) => {
    expect(isRuntime(name)).toBe(kept);
  });
});
