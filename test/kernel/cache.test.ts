// The per-node cache: whose it is, where it may be, how large it gets, what is left, and who can reach its file.
import { execFileSync } from 'node:child_process';
import {
  chmodSync,
  chownSync,
  closeSync,
  fstatSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  rmSync,
  statfsSync,
  statSync,
  symlinkSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { parseConfig } from '../../src/config/index.js';
import { BerthError, errorCode } from '../../src/errors/index.js';
import { makeCache } from '../../src/launch/cache-file.js';
import { runErrand } from '../../src/launch/opener.js';
import { cachefileExecutable, native } from '../../src/native/index.js';
import type { CacheVolume } from '../../src/options/index.js';
import { Caller } from './helpers/caller.js';
import { leavesNothing } from './helpers/lifecycle.js';
import { program } from './helpers/programs.js';
import { loopsOn } from './helpers/residue.js';
import { makeScratch, removeMount, removeScratch } from './helpers/scratch.js';

const USER = { uid: 70_001, gid: 70_002, gids: [70_003] } as const;

let scratch: string;
let caller: Caller;
/** A directory of the user's. */
let own: string;
beforeAll(async () => {
  scratch = makeScratch();
  caller = await Caller.connect(scratch);
});
beforeEach(() => {
  own = join(scratch, 'own');
  rmSync(own, { recursive: true, force: true });
  mkdirSync(own, { mode: 0o700 });
  chownSync(own, USER.uid, USER.gid);
});
afterAll(async () => {
  await caller.close();
  removeScratch(scratch);
});
leavesNothing(() => scratch);

interface Wish {
  readonly source?: string;
  /** MiB */
  readonly size?: number;
  readonly filesystem?: CacheVolume['filesystem'];
  /** Lines of berth.toml. */
  readonly config?: string;
}

/** Makes a cache, and gives the path by which its directory can be looked at. */
async function withCache<T>(wish: Wish, look: (path: string) => T): Promise<T> {
  const { source = own, size = 64, filesystem = 'ext4', config: text = '' } = wish;
  const { config, problems } = parseConfig(text, 'test');
  expect(problems).toEqual([]);
  const volume = { kind: 'cache', source, destination: '/cache', size, filesystem, origin: '--volume' } as const;
  const mount = await makeCache({ ...USER, nodeName: 'n1' }, volume, caller, config);
  try {
    return look(`/proc/${process.pid}/fd/${mount}`);
  } finally {
    native.close(mount);
  }
}

/** What the user is told. */
async function refusal(wish: Wish): Promise<string> {
  try {
    await withCache(wish, () => undefined);
  } catch (error) {
    if (error instanceof BerthError) return `${error.code}: ${error.why}`;
    throw error;
  }
  return 'none';
}

/** Writes until it is refused, and returns the errno and the bytes that went in. */
function fill(path: string): { errno: string | undefined; written: number } {
  const file = openSync(path, 'w');
  const piece = Buffer.alloc(1 << 20, 'x');
  try {
    for (let written = 0; ;) {
      try {
        written += writeSync(file, piece);
      } catch (error) {
        return { errno: errorCode(error), written };
      }
    }
  } finally {
    closeSync(file);
  }
}

describe.each([
  { filesystem: 'ext4', size: 64 },
  { filesystem: 'xfs', size: 300 },
] as const)('a cache with $filesystem', ({ filesystem, size }) => {
  it("is an empty directory of the user's alone, on a file system of that kind", async () => {
    await withCache({ filesystem, size }, (path) => {
      const { uid, gid, mode } = statSync(`${path}/.`);
      expect({ uid, gid, mode: (mode & 0o7777).toString(8) }).toEqual({ uid: USER.uid, gid: USER.gid, mode: '700' });
      expect(readdirSync(`${path}/`)).toEqual([]);
      expect(statfsSync(`${path}/.`).type).toBe(filesystem === 'xfs' ? 0x58465342 : 0xef53);
    });
  });

  it('is as large as it was asked to be, and no larger', async () => {
    await withCache({ filesystem, size }, (path) => {
      const { errno, written } = fill(`${path}/fill`);
      expect(errno).toBe('ENOSPC');
      expect(written / 2 ** 20).toBeGreaterThan(size * 0.6);
      expect(written / 2 ** 20).toBeLessThanOrEqual(size);
    });
  });

  it('has no name in the directory, takes what is written, and leaves nothing', async () => {
    await withCache({ filesystem, size: 10_240 }, (path) => {
      writeFileSync(`${path}/data`, 'x'.repeat(1e6));
      expect(readFileSync(`${path}/data`, 'latin1')).toHaveLength(1e6);
      expect(readdirSync(own)).toEqual([]);
      expect(loopsOn(scratch)).toHaveLength(1);
    });
    expect(readdirSync(own)).toEqual([]);
  });
});

describe('a cache is refused', () => {
  it('in a directory where the user may not write', async () => {
    chmodSync(own, 0o500);
    expect(await refusal({})).toMatch(/^BERTH_CACHE: .*permission denied/);
  });

  it("in somebody else's, that they may not even enter", async () => {
    chownSync(own, 0, 0);
    expect(await refusal({ source: join(own, 'below') })).toBe('BERTH_CACHE: permission denied');
  });

  it('where there is no directory', async () => {
    expect(await refusal({ source: join(own, 'missing') })).toBe('BERTH_CACHE: no such file or directory');
    writeFileSync(join(own, 'file'), '');
    expect(await refusal({ source: join(own, 'file') })).toBe('BERTH_CACHE: not a directory');
  });

  it('behind a link to what the process that looks has open', async () => {
    symlinkSync('/proc/self/fd/5', join(own, 'link'));
    expect(await refusal({ source: join(own, 'link') })).toMatch(/^BERTH_CACHE: too many symbolic links/);
  });

  it('on a file system that the site does not allow, such as one in memory', async () => {
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'mode=1777', 'tmpfs', own]);
    try {
      expect(await refusal({})).toMatch(/^BERTH_CACHE: it is on tmpfs; the site allows it on: beegfs, /);
      expect(await refusal({ config: '[volumes]\ncache_filesystems = []' })).toMatch(/allows it on: none/);
      expect(await refusal({ config: '[volumes]\ncache_filesystems = ["tmpfs"]' })).toBe('none');
    } finally {
      removeMount(own);
    }
  });

  it('where the site has no sources of volumes, and by what a link leads to', async () => {
    symlinkSync(own, join(scratch, 'elsewhere'));
    const denied = `[volumes]\ndenied_sources = ["${own}"]`;
    expect(await refusal({ config: denied })).toMatch(/^BERTH_MOUNT_DENIED: .* is .*own, which the site keeps out/);
    expect(await refusal({ source: join(scratch, 'elsewhere'), config: denied })).toMatch(/^BERTH_MOUNT_DENIED: /);
    const allowed = `[volumes]\nallowed_sources = ["${scratch}/own2"]`;
    expect(await refusal({ config: allowed })).toMatch(/^BERTH_MOUNT_DENIED: .* is not below what the site lets users/);
    rmSync(join(scratch, 'elsewhere'));
  });

  it('where the file system makes no unnamed files', async () => {
    const MQUEUE = '0x19800202';
    execFileSync('mount', ['-t', 'mqueue', 'none', own]);
    const formatted = native.memoryFile(4096);
    try {
      const answer = await runErrand({
        ...{ executable: cachefileExecutable, user: USER, path: own, words: [MQUEUE] },
        ...{ caller: caller.pidfd, descriptors: [formatted], timeout: 5000 },
      });
      expect(answer).toEqual({ text: 'unnamed', descriptors: [] });
    } finally {
      native.close(formatted);
      removeMount(own);
    }
  });
});

describe("a cache's file", () => {
  /** The file alone, which nobody has but this process. */
  async function makeFile(): Promise<number> {
    const formatted = native.memoryFile(2 ** 20);
    const EXT4 = '0xef53';
    const answer = await runErrand({
      ...{ executable: cachefileExecutable, user: USER, path: own, words: [EXT4] },
      ...{ caller: caller.pidfd, descriptors: [formatted], timeout: 5000 },
    });
    native.close(formatted);
    const [file] = answer.descriptors;
    if (file === undefined) throw new Error(answer.text);
    return file;
  }

  it("counts as the user's, has no name, and takes no room until it is written to", async () => {
    const file = await makeFile();
    const { uid, mode, nlink, blocks, size } = fstatSync(file);
    expect({ uid, mode: (mode & 0o777).toString(8), nlink, blocks, size }).toEqual({
      ...{ uid: USER.uid, mode: '600', nlink: 0 },
      ...{ blocks: 0, size: 2 ** 20 },
    });
    closeSync(file);
  });

  it('gets no name, and its owner reaches it in no way, also not as root of a namespace', async () => {
    const file = await makeFile();
    const loop = '/dev/loop-control';
    const argv = [USER.uid, process.pid, file, own, loop].map(String);
    const said = execFileSync(program('reach'), argv, { stdio: ['ignore', 'pipe', 'inherit', file], encoding: 'utf8' });
    const ways = new Map(
      said
        .trimEnd()
        .split('\n')
        .map((line) => line.split(': ', 2) as [string, string]),
    );
    expect(Object.fromEntries(ways)).toEqual({
      'root, by linkat': 'ENOENT',
      'root, by handle': 'reached',
      'open of its link': 'EACCES',
      linkat: 'EACCES',
      pidfd_getfd: 'EPERM',
      ptrace: 'EPERM',
      'its device': 'EACCES',
      'by handle': 'EPERM',
      'by handle, as root of a namespace': 'EPERM',
    });
    closeSync(file);
  });
});
