// A user's squashfs file that squashfuse serves as that user ([store] files = "fuse"): rights, life and end of the process.
import { execFileSync } from 'node:child_process';
import {
  existsSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  statSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { parseConfig } from '../../src/config/index.js';
import { Registry, type Container } from '../../src/container/index.js';
import { BerthError } from '../../src/errors/index.js';
import { ImageStore } from '../../src/image/index.js';
import { closeAside, Designer, Launcher, type Launched, type LaunchOrder } from '../../src/launch/index.js';
import { Caller } from './helpers/caller.js';
import { AS_RANK, enterContainer } from './helpers/container.js';
import { directory, file, makeImage, toolbox } from './helpers/images.js';
import { leavesNothing } from './helpers/lifecycle.js';
import { makeScratch, removeScratch } from './helpers/scratch.js';
import { Modules } from '../../src/modules/index.js';
import { NOTHING_ASKED_FOR } from '../../src/options/index.js';

const nobody = { uid: 65_534, gid: 65_534, gids: [65_534, 4] } as const;

let scratch: string;
let store: ImageStore;
let registry: Registry;
let caller: Caller;
let image: string;

/** Which has its own /dev/fuse, as udev makes it: open to users, with this mode. */
function callerWithFuse(mode: string): Promise<Caller> {
  const device = 'mount -t tmpfs none "$1" && mknod -m "$2" "$1/fuse" c 10 229 && mount --bind "$1/fuse" /dev/fuse';
  const place = join(scratch, `dev-${mode}`);
  mkdirSync(place);
  return Caller.connect(scratch, [
    ...['unshare', '--mount', 'sh', '-c', `${device} && shift 2 && exec "$@"`, 'sh', place, mode],
  ]);
}

beforeAll(async () => {
  scratch = makeScratch();
  store = await ImageStore.open({ path: join(scratch, 'store'), compressionLevel: 1 });
  image = makeImage(scratch, {
    toolbox: toolbox(),
    'etc/passwd': file('root:x:0:0:::\n'),
    'data/open': file('what is in the image\n'),
    'data/of-root': file('for root alone\n', { mode: 0o600 }),
    'data/of-a-group': file('for adm\n', { mode: 0o640, gid: 4 }),
    empty: directory(),
  });
  registry = new Registry(join(scratch, 'containers'));
  caller = await callerWithFuse('0666');
});

afterAll(async () => {
  await caller.close();
  removeScratch(scratch);
});

leavesNothing(() => scratch);

afterEach(async () => {
  for (const container of registry.all()) registry.end(container);
  await expect.poll(servers).toEqual([]);
});

function makeLauncher(inRegistry = registry): Launcher {
  const { config, problems } = parseConfig('[store]\nfiles = "fuse"\n[container]\nbuild_timeout = 5\n', 'test');
  expect(problems).toEqual([]);
  const workspace = join(scratch, 'workspace');
  mkdirSync(workspace, { recursive: true, mode: 0o755 });
  return new Launcher(config, store, inRegistry, new Designer(config, new Modules(config.modules), workspace));
}

async function launch(
  launcher: Launcher,
  path = image,
  by = caller,
  changes: Partial<LaunchOrder> = {},
): Promise<Launched> {
  const descriptor = openSync(path, 'r');
  const served = { path, descriptor };
  try {
    return await launcher.launch(
      {
        jobId: 7,
        stepId: 0,
        ...nobody,
        ...NOTHING_ASKED_FOR,
        image: `file ${path}`,
        nodeName: 'n1',
        spoolDir: '',
        file: served,
        ...changes,
      },
      by,
    );
  } finally {
    closeAside(descriptor);
  }
}

const ask = (container: Container, question: string, ...paths: readonly string[]): Promise<string> =>
  enterContainer(container, container.namespaces, AS_RANK, '/toolbox', question, ...paths);

/** Those that run, as the machine may take its time to reap them. */
function servers(): number[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .map(Number)
    .filter((pid) => isServer(pid));
}

function isServer(pid: number): boolean {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, 'latin1').includes('/dev/fd/5');
  } catch {
    return false;
  }
}

function kindOf(path: string): string {
  const found = statSync(path);
  if (found.isSocket()) return 'socket';
  if (found.isFIFO()) return 'FIFO';
  return found.isFile() ? 'file' : 'device';
}

/** Linux's dev_t of small numbers. */
const makedev = (major: number, minor: number): number => major * 256 + minor;

const only = (pids: readonly number[]): number => {
  const [pid] = pids;
  if (pid === undefined || pids.length > 1) throw new Error(`there are ${pids.length} servers`);
  return pid;
};

async function failure(work: Promise<unknown>): Promise<string> {
  const error = await work.then(
    () => undefined,
    (thrown: unknown) => thrown,
  );
  if (error instanceof BerthError) return `${error.code}: ${error.why}`;
  throw new Error(`no error of the table: ${String(error)}`);
}

describe('a container of a served file', () => {
  it('has what is in the file, and the permissions that the file has', async () => {
    const { container } = await launch(makeLauncher());
    expect(await ask(container, 'read', '/data/open')).toBe('what is in the image');
    expect(await ask(container, 'read', '/data/of-a-group')).toBe('for adm');
    expect(await ask(container, 'open', '/data/of-root')).toBe('EACCES');
    expect(await ask(container, 'write', '/data/new')).toBe('EROFS');
    expect(await ask(container, 'list', '/data')).toBe('of-a-group\nof-root\nopen');
  });

  it('is one for all ranks that ask at once, and for later ones', async () => {
    const launcher = makeLauncher();
    const launched = await Promise.all(Array.from({ length: 8 }, () => launch(launcher)));
    expect(new Set(launched.map(({ container }) => container)).size).toBe(1);
    expect((await launch(launcher)).cold).toBe(false);
    expect(servers()).toHaveLength(1);
  });

  it("is mounted nowhere but in there, so that the host's processes never wait for its server", async () => {
    await launch(makeLauncher());
    expect(readFileSync('/proc/self/mountinfo', 'utf8')).not.toContain('squashfuse');
    expect(readFileSync(`/proc/${only(servers())}/mountinfo`, 'utf8')).not.toContain('squashfuse');
  });
});

describe('the server', () => {
  it("has the user's rights and no others, and can get none", async () => {
    await launch(makeLauncher());
    const status = readFileSync(`/proc/${only(servers())}/status`, 'utf8');
    expect(status).toMatch(/^Uid:\t65534\t65534\t65534\t65534$/m);
    expect(status).toMatch(/^Gid:\t65534\t65534\t65534\t65534$/m);
    expect(status).toMatch(/^Groups:\t4 65534 $/m);
    expect(status).toMatch(/^CapPrm:\t0000000000000000$/m);
    expect(status).toMatch(/^CapBnd:\t0000000000000000$/m);
    expect(status).toMatch(/^NoNewPrivs:\t1$/m);
    expect(status).toMatch(/^NSpid:\t\d+\t1$/m);
    const limits = readFileSync(`/proc/${only(servers())}/limits`, 'utf8');
    expect(limits).toMatch(/^Max core file size +0 +0/m);
    expect(limits).toMatch(/^Max open files +64 +64/m);
  });

  it('has no descriptor but messages, the file and the device', async () => {
    await launch(makeLauncher());
    const directory = `/proc/${only(servers())}/fd`;
    const found = readdirSync(directory).map((fd) => `${fd} ${kindOf(join(directory, fd))}`);
    // 3 is what squashfuse has opened itself.
    expect(found).toEqual(['0 device', '1 device', '2 socket', '3 file', '4 file', '5 device']);
    expect(readlinkSync(join(directory, '4'))).toBe(image);
    expect(statSync(join(directory, '5')).rdev).toBe(makedev(10, 229));
  });

  it('ends with its container', async () => {
    const { container } = await launch(makeLauncher());
    only(servers());
    registry.end(container);
    await expect.poll(servers).toEqual([]);
  });

  it('ends with its container though its user has stopped it', async () => {
    const { container } = await launch(makeLauncher());
    process.kill(only(servers()), 'SIGSTOP');
    registry.end(container);
    await expect.poll(servers).toEqual([]);
  });

  it('outlives the berthd that started it, and ends with the one that takes its container over', async () => {
    await launch(makeLauncher());
    const pid = only(servers());
    const next = new Registry(join(scratch, 'containers'));
    expect(next.adopt()).toBe(1);
    const { container, cold } = await launch(makeLauncher(next));
    expect(cold).toBe(false);
    expect(container.server?.pid).toBe(pid);
    expect(await ask(container, 'read', '/data/open')).toBe('what is in the image');
    for (const old of registry.all()) registry.end(old);
    next.end(container);
    await expect.poll(servers).toEqual([]);
  });

  it('that was killed is an error for those who are inside, and the next launch has another', async () => {
    const launcher = makeLauncher();
    const { container } = await launch(launcher);
    const pid = only(servers());
    process.kill(pid, 'SIGKILL');
    await expect.poll(servers).toEqual([]);
    await expect(ask(container, 'read', '/data/open')).rejects.toThrow();
    const second = await launch(launcher);
    expect(second.cold).toBe(true);
    expect(await ask(second.container, 'read', '/data/open')).toBe('what is in the image');
    expect(only(servers())).not.toBe(pid);
    expect(registry.all()).toEqual([second.container]);
  });
});

describe('a launch fails, and leaves nothing,', () => {
  it('of a file that is no squashfs', async () => {
    const path = join(scratch, 'none');
    writeFileSync(path, 'x'.repeat(10_000));
    expect(await failure(launch(makeLauncher(), path))).toMatch(/^BERTH_FILE_UNUSABLE: .*squashfs/);
    expect(servers()).toEqual([]);
  });

  it.each([5000, 200])('of one that was cut to %i bytes', async (size) => {
    const path = join(scratch, `cut-${size}`);
    execFileSync('cp', [image, path]);
    truncateSync(path, size);
    expect(await failure(launch(makeLauncher(), path))).toMatch(/^BERTH_FILE_UNUSABLE: \S/);
    await expect.poll(servers).toEqual([]);
  });

  it('where users may not open /dev/fuse', async () => {
    const by = await callerWithFuse('0600');
    try {
      expect(await failure(launch(makeLauncher(), image, by))).toBe(
        'BERTH_FUSE_UNAVAILABLE: open: /dev/fuse: permission denied',
      );
    } finally {
      await by.close();
    }
    expect(servers()).toEqual([]);
  });

  it('of a file that its user may not open any more', async () => {
    const path = join(scratch, 'locked');
    execFileSync('install', ['-m', '600', image, path]);
    expect(await failure(launch(makeLauncher(), path))).toMatch(/^BERTH_FILE_UNUSABLE: .*[Pp]ermission denied/);
    expect(existsSync(path)).toBe(true);
  });

  it(
    'of a file that is damaged anywhere, or its container has what can be read of it',
    { timeout: 60_000 },
    async () => {
      const whole = readFileSync(image);
      let state = 1;
      const random = (below: number): number => {
        state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
        return Math.floor((state / 2 ** 32) * below);
      };
      const outcomes: string[] = [];
      for (let round = 0; round < 40; round++) {
        const damaged = Buffer.from(whole);
        // The tables are at the end, and the superblock at the beginning.
        const near = [100, damaged.length, 2000][round % 3] ?? 1;
        for (let i = 0; i <= round % 4; i++) {
          const at = round % 3 === 2 ? damaged.length - 1 - random(near) : random(near);
          damaged[at] = random(256);
        }
        const path = join(scratch, `damaged-${round}`);
        writeFileSync(path, damaged);
        const outcome = await launch(makeLauncher(), path).then(
          () => 'launched',
          (error: unknown) => (error instanceof BerthError ? error.code : String(error)),
        );
        outcomes.push(outcome);
        for (const container of registry.all()) registry.end(container);
      }
      expect(outcomes).toContain('launched');
      expect([...new Set(outcomes)].filter((outcome) => outcome !== 'launched')).toEqual(['BERTH_FILE_UNUSABLE']);
    },
  );
});
