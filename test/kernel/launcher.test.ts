import { createHash } from 'node:crypto';
import {
  chmodSync,
  chownSync,
  closeSync,
  existsSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  rmSync,
  watch,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { parseConfig, type Config } from '../../src/config/index.js';
import { Registry, type Container } from '../../src/container/index.js';
import { ImageStore, type ImageRecord } from '../../src/image/index.js';
import { Designer, Launcher, type LaunchOrder } from '../../src/launch/index.js';
import { native } from '../../src/native/index.js';
import { Caller } from './helpers/caller.js';
import { AS_RANK, enterContainer } from './helpers/container.js';
import { directory, file, makeArchive, toolbox } from './helpers/images.js';
import { program, Running } from './helpers/programs.js';
import { childrenNamed, loopsOn } from './helpers/residue.js';
import { leavesNothing } from './helpers/lifecycle.js';
import { makeScratch, removeMount, removeScratch } from './helpers/scratch.js';
import { Modules } from '../../src/modules/index.js';
import { askedFor, NOTHING_ASKED_FOR } from '../../src/options/index.js';

let scratch: string;
let store: ImageStore;
let image: ImageRecord;
let registry: Registry;
let caller: Caller;

/** Debian's own account for nobody, who has no subordinate ids. */
const nobody = { uid: 65_534, gid: 65_534, gids: [65_534] } as const;

beforeAll(async () => {
  scratch = makeScratch();
  store = await ImageStore.open({ path: join(scratch, 'store'), compressionLevel: 1 });
  const archive = makeArchive(scratch, {
    toolbox: toolbox(),
    'etc/passwd': file('root:x:0:0:::\n'),
    data: directory(),
  });
  const request = { name: 'app', owner: 'site', source: 'a test', complete: Promise.resolve() } as const;
  image = await store.importTar(request, openSync(archive, 'r'));
  registry = new Registry(join(scratch, 'containers'));
  caller = await Caller.connect(scratch);
});

afterAll(async () => {
  await caller.close();
  removeScratch(scratch);
});

leavesNothing(() => scratch);

afterEach(() => {
  for (const container of registry.all()) registry.end(container);
});

function configure(text = ''): Config {
  const { config, problems } = parseConfig(text, 'test');
  expect(problems).toEqual([]);
  return config;
}

function makeLauncher(text = ''): Launcher {
  const workspace = join(scratch, 'workspace');
  mkdirSync(workspace, { recursive: true, mode: 0o755 });
  const config = configure(text);
  return new Launcher(config, store, registry, new Designer(config, new Modules(config.modules), workspace));
}

function order(changes: Partial<LaunchOrder> = {}): LaunchOrder {
  return {
    jobId: 7,
    stepId: 0,
    ...nobody,
    ...NOTHING_ASKED_FOR,
    image: 'app',
    nodeName: 'n1',
    spoolDir: '',
    ...changes,
  };
}

function ask(container: Container, question: string, ...paths: readonly string[]): Promise<string> {
  return enterContainer(container, container.namespaces, AS_RANK, '/toolbox', question, ...paths);
}

describe('a launch', () => {
  it.each(['on', 'off'])('builds the container of the job, the user and the image (userns = %s)', async (userns) => {
    const { container, cold, launch } = await makeLauncher(`[container]\nuserns = "${userns}"\n`).launch(
      order(),
      caller,
    );
    expect(cold).toBe(true);
    expect(container).toMatchObject({
      jobId: 7,
      uid: nobody.uid,
      user: 'nobody',
      image: 'app:latest',
      requestedImage: 'app',
      digest: image.digest,
      userNamespace: userns === 'on',
      nodeName: 'n1',
    });
    expect(launch.phases?.map(({ name }) => name)).toEqual(
      expect.arrayContaining(['request', 'identity', 'spawn', 'namespaces', 'policy', 'image mount', 'build', 'pin']),
    );
    expect(await ask(container, 'read', '/etc/passwd')).toMatch(
      /^nobody:x:65534:65534:[^:]*:[^:]*:[^:]*\nroot:x:0:0:::$/,
    );
    expect(await ask(container, 'open', '/dev/null', '/proc/self/status', '/sys/kernel')).toBe(
      'opened\nopened\nopened',
    );
    expect(await ask(container, 'read', '/etc/hosts')).toBe(readFileSync('/etc/hosts', 'utf8').trimEnd());
  });

  it('leaves no process behind', async () => {
    await makeLauncher().launch(order(), caller);
    await expect.poll(() => childrenNamed('berth-builder')).toEqual([]);
  });

  it('into a ready container builds nothing', async () => {
    const launcher = makeLauncher();
    const first = await launcher.launch(order(), caller);
    const second = await launcher.launch(order({ stepId: 1 }), caller);
    expect(second.cold).toBe(false);
    expect(second.container).toBe(first.container);
    expect(second.container.launches.map(({ stepId, cold }) => [stepId, cold])).toEqual([
      [0, true],
      [1, false],
    ]);
  });

  describe('whose container is to be saved', () => {
    const place = (): string => join(scratch, 'kept');
    const saving = (changes: Partial<LaunchOrder> = {}): LaunchOrder =>
      order({ saves: true, ...askedFor([{ name: 'container-save', value: join(place(), 'app.sqsh') }]), ...changes });

    /** How many files were begun in the place meanwhile: each look whether one can be is one. */
    async function looksDuring(work: () => Promise<unknown>): Promise<number> {
      const begun = new Set<string | null>();
      const watcher = watch(place(), (_, name) => begun.add(name));
      try {
        await work();
        await sleep(100);
        return begun.size;
      } finally {
        watcher.close();
      }
    }

    beforeAll(() => {
      chmodSync(scratch, 0o755);
      mkdirSync(place());
      chownSync(place(), nobody.uid, nobody.gid);
      // Node keeps the descriptor that the first of them opens.
      watch(place()).close();
    });

    it('has the place looked at once for all ranks of a step, and again for the next', async () => {
      const launcher = makeLauncher();
      const ranks = [1, 2, 3, 4].map(() => launcher.launchRank(saving(), caller));
      expect(await looksDuring(() => Promise.all(ranks))).toBe(1);
      expect(await looksDuring(() => launcher.launchRank(saving(), caller))).toBe(0);
      expect(await looksDuring(() => launcher.launchRank(saving({ stepId: 1 }), caller))).toBe(1);
    });

    it('has it looked at again when its job has ended and was requeued', async () => {
      const launcher = makeLauncher();
      expect(await looksDuring(() => launcher.launchRank(saving(), caller))).toBe(1);
      launcher.endJob(saving().jobId + 1);
      expect(await looksDuring(() => launcher.launchRank(saving(), caller))).toBe(0);
      launcher.endJob(saving().jobId);
      expect(await looksDuring(() => launcher.launchRank(saving(), caller))).toBe(1);
    });

    it('fails for all of them where it cannot be there, and is looked at anew by who asks later', async () => {
      const launcher = makeLauncher();
      chmodSync(place(), 0o555);
      const ranks = [1, 2, 3].map(() => launcher.launchRank(saving(), caller));
      for (const rank of ranks) await expect(rank).rejects.toMatchObject({ code: 'BERTH_SAVE_TARGET' });
      chmodSync(place(), 0o755);
      expect(await looksDuring(() => launcher.launchRank(saving(), caller))).toBe(1);
    });

    it('is looked at by the next rank when the one that asked first has died', async () => {
      const launcher = makeLauncher();
      const gone = await Caller.connect(scratch);
      await gone.leave();
      const dead = { pid: caller.pid, pidfd: gone.pidfd, mountNamespace: openSync('/proc/self/ns/mnt', 'r') };
      try {
        const results = await Promise.allSettled([
          launcher.launchRank(saving(), dead),
          launcher.launchRank(saving(), caller),
        ]);
        expect(results.map(({ status }) => status)).toEqual(['rejected', 'fulfilled']);
      } finally {
        closeSync(dead.mountNamespace);
        await gone.close();
      }
    });
  });

  it('into a ready container fails once its user may no longer use the image', async () => {
    const launcher = makeLauncher();
    const access = { everyone: false, uids: [nobody.uid], gids: [] };
    await store.upkeep.share('app', access, { uid: 0, gids: [] });
    try {
      await launcher.launch(order(), caller);
      expect((await launcher.launch(order({ stepId: 1 }), caller)).cold).toBe(false);
      await store.upkeep.share('app', { ...access, uids: [] }, { uid: 0, gids: [] });
      await expect(launcher.launch(order({ stepId: 2 }), caller)).rejects.toMatchObject({
        code: 'BERTH_IMAGE_UNKNOWN',
      });
    } finally {
      await store.upkeep.share('app', { ...access, everyone: true }, { uid: 0, gids: [] });
    }
  });

  it('by 32 ranks at once builds one container', async () => {
    const launcher = makeLauncher();
    const launched = await Promise.all(Array.from({ length: 32 }, () => launcher.launch(order(), caller)));
    expect(new Set(launched.map(({ container }) => container)).size).toBe(1);
    expect(launched.filter(({ cold }) => cold)).toHaveLength(1);
    expect(registry.all()).toHaveLength(1);
    expect(readdirSync(join(scratch, 'containers'))).toHaveLength(1);
    expect(loopsOn(scratch)).toHaveLength(1);
  });

  it('of several jobs builds one each, on one loop device once the image is mounted', async () => {
    const launcher = makeLauncher();
    await launcher.launch(order(), caller);
    await Promise.all([8, 9, 10].map((jobId) => launcher.launch(order({ jobId }), caller)));
    expect(
      registry
        .all()
        .map(({ jobId }) => jobId)
        .sort(),
    ).toEqual([10, 7, 8, 9]);
    expect(loopsOn(scratch)).toHaveLength(1);
  });

  it("brings in the site's mounts, and those below them", async () => {
    mkdirSync(join(scratch, 'site', 'inner'), { recursive: true });
    writeFileSync(join(scratch, 'site', 'here'), 'the site\n');
    const launcher = makeLauncher(
      `[container]\nmounts = ["${scratch}/site/inner:/data/inner", "${scratch}/site:/data:ro"]\n`,
    );
    const { container } = await launcher.launch(order(), caller);
    expect(await ask(container, 'list', '/data')).toBe('here\ninner');
    expect(await ask(container, 'write', '/data/new')).toBe('EROFS');
  });
});

describe('the end of a job', () => {
  it('ends its containers and no others', async () => {
    const launcher = makeLauncher();
    await launcher.launch(order(), caller);
    await launcher.launch(order({ jobId: 8 }), caller);
    expect(launcher.endJob(7)).toBe(1);
    expect(launcher.endJob(7)).toBe(0);
    expect(registry.all().map(({ jobId }) => jobId)).toEqual([8]);
  });

  it('in the middle of a build fails the launch of every rank that waits, and keeps nothing', async () => {
    const launcher = makeLauncher();
    const launches = Array.from({ length: 4 }, () => launcher.launch(order(), caller));
    for (const launch of launches) launch.catch(() => undefined);
    launcher.endJob(7);
    for (const launch of launches)
      await expect(launch).rejects.toMatchObject({ code: 'BERTH_JOB_ENDED', what: 'job 7 has ended on n1' });
    expect(registry.all()).toEqual([]);
  });

  it('at any moment of a build leaves nothing and closes nothing twice', async () => {
    const launcher = makeLauncher();
    for (let delay = 0; delay < 24; delay++) {
      const launch = launcher.launch(order(), caller);
      launch.catch(() => undefined);
      const spin = performance.now() + delay / 3;
      while (performance.now() < spin) await new Promise(setImmediate);
      launcher.endJob(7);
      const outcome = await launch.then(
        () => 'launched',
        (error: unknown) => (error instanceof Error ? error.message : 'unknown'),
      );
      expect(outcome).toMatch(/^launched$|^BERTH_JOB_ENDED/);
      launcher.endJob(7);
      expect(registry.all()).toEqual([]);
    }
  });

  it('between the pinning of the container and the answer closes nothing twice', async () => {
    const launcher = makeLauncher();
    const pin = registry.pin.bind(registry);
    let ended = 0;
    registry.pin = (record, namespaces) => {
      const container = pin(record, namespaces);
      queueMicrotask(() => {
        ended = launcher.endJob(7);
      });
      return container;
    };
    try {
      await expect(launcher.launch(order(), caller)).rejects.toMatchObject({ code: 'BERTH_JOB_ENDED' });
      expect(ended).toBe(1);
    } finally {
      registry.pin = pin;
    }
  });
});

describe('a named container', () => {
  const step = (stepId: number, ...options: string[]): LaunchOrder => {
    const written = ['container-name=box', ...options].map((option) => {
      const [name = '', value = ''] = option.split('=');
      return { name, value };
    });
    return order({ stepId, ...askedFor(written), image: stepId === 0 ? 'app' : '' });
  };

  it('is there for later steps of the job, whatever it was made with', async () => {
    const launcher = makeLauncher();
    const { container } = await launcher.launch(step(0, 'container-unshare=ipc'), caller);
    expect((await launcher.launch(step(1), caller)).container).toBe(container);
    expect((await launcher.launch(step(2, 'container-unshare=ipc', 'container-env=A'), caller)).container).toBe(
      container,
    );
    launcher.endJob(7);
  });

  it('is no container for a step that asks for something it was not made with', async () => {
    const launcher = makeLauncher();
    await launcher.launch(step(0), caller);
    const why = 'the container of that name was made without --container-unshare=ipc, and cannot get it any more';
    const refused = { code: 'BERTH_CONTAINER_NAME', why };
    await expect(launcher.launch(step(1, 'container-unshare=ipc'), caller)).rejects.toMatchObject(refused);
    launcher.endJob(7);
  });
});

describe('a launch that fails', () => {
  it('because its caller is gone says that the job has ended', async () => {
    const gone = await Caller.connect(scratch);
    await gone.leave();
    await expect(makeLauncher().launch(order(), gone)).rejects.toMatchObject({ code: 'BERTH_JOB_ENDED' });
    await gone.close();
  });

  it('for a caller that dies meanwhile leaves nothing', async () => {
    const dying = await Caller.connect(scratch);
    const launch = makeLauncher().launch(order(), dying);
    native.signal(dying.pidfd, 9);
    const outcome = await launch.then(
      () => 'launched',
      (error: unknown) => (error instanceof Error ? error.message : 'unknown'),
    );
    expect(outcome).toMatch(/^launched$|^BERTH_(JOB_ENDED|BUILD_FAILED)/);
    await dying.close();
  });

  it.each([
    ['an image that is not in the store', { image: 'nothing' }, 'BERTH_IMAGE_UNKNOWN'],
    ['a name that no image can have', { image: '../etc' }, 'BERTH_IMAGE_NAME'],
    ['a user the name service does not know', { uid: 4_000_000_001 }, 'BERTH_IDENTITY'],
  ])('for %s has a code, leaves nothing, and the next one works', async (_, changes, code) => {
    const launcher = makeLauncher();
    const launches = Array.from({ length: 3 }, () => launcher.launch(order(changes), caller));
    for (const launch of launches) await expect(launch).rejects.toMatchObject({ code });
    expect(registry.all()).toEqual([]);
    expect((await launcher.launch(order(), caller)).cold).toBe(true);
  });

  it("for a site's mount that is missing names it", async () => {
    const launcher = makeLauncher(`[container]\nmounts = ["${scratch}/absent"]\n`);
    await expect(launcher.launch(order(), caller)).rejects.toMatchObject({
      code: 'BERTH_MOUNT_SOURCE',
      what: expect.stringContaining(`${scratch}/absent`) as string,
    });
  });

  it('for a damaged image says so', async () => {
    const archive = makeArchive(scratch, { x: file('another image') });
    const request = { name: 'damaged', owner: 'site', source: 'a test', complete: Promise.resolve() } as const;
    const { digest, size } = await store.importTar(request, openSync(archive, 'r'));
    const path = findImage(digest);
    chmodSync(path, 0o644);
    writeFileSync(path, Buffer.alloc(size, 7));
    chmodSync(path, 0o444);
    await expect(makeLauncher().launch(order({ image: 'damaged' }), caller)).rejects.toMatchObject({
      code: 'BERTH_IMAGE_DAMAGED',
      what: expect.stringContaining('damaged:latest') as string,
    });
    rmSync(path);
  });

  it('for a file system that does not answer ends after the build timeout', async () => {
    const silent = join(scratch, 'silent');
    mkdirSync(silent);
    const filesystem = await Running.start(program('silent-filesystem'), silent);
    await filesystem.line();
    const launcher = makeLauncher(`[container]\nbuild_timeout = 1\nmounts = ["${silent}/x:/data"]\n`);
    const launches = [launcher.launch(order(), caller), launcher.launch(order(), caller)];
    for (const launch of launches) {
      await expect(launch).rejects.toMatchObject({
        code: 'BERTH_BUILD_TIMEOUT',
        what: expect.stringMatching(/within 1 s$/) as string,
      });
    }
    await filesystem.stop();
  });

  it('because it cannot be pinned closes its namespaces once', async () => {
    const full = new Registry(join(scratch, 'full'));
    const workspace = join(scratch, 'workspace');
    mkdirSync(workspace, { recursive: true });
    const config = configure();
    const designer = new Designer(config, new Modules(config.modules), workspace);
    const launcher = new Launcher(config, store, full, designer);
    const fill = openSync(join(scratch, 'full', 'fill'), 'w');
    try {
      for (;;) writeFileSync(fill, Buffer.alloc(1 << 20));
    } catch {
      native.close(fill);
    }
    await expect(launcher.launch(order(), caller)).rejects.toMatchObject({
      code: 'BERTH_BUILD_FAILED',
      why: expect.stringContaining('no space left on device') as string,
    });
    expect(readdirSync(join(scratch, 'full'))).toEqual(['fill']);
    expect(existsSync(join(scratch, 'full', 'fill'))).toBe(true);
    removeMount(join(scratch, 'full'));
  });
});

describe('ranks with a mount namespace of their own, as with a job_container plugin', () => {
  it('get a container of it; what was built early for slurmstepd ends, and the next step waits for the ranks', async () => {
    const launcher = makeLauncher();
    const rank = await Caller.connect(scratch, ['unshare', '--mount', '--propagation', 'private']);
    const early = await launcher.launchStep(order(), caller);
    const inRank = await launcher.launchRank(order(), rank);
    expect(inRank.container).not.toBe(early?.container);
    expect(registry.all()).toEqual([inRank.container]);
    expect((await launcher.launchStep(order({ stepId: 1 }), caller))?.container).toBe(inRank.container);
    expect(await launcher.launchStep(order({ jobId: 8 }), caller)).toBeUndefined();
    await rank.close();
  });
});

function findImage(digest: string): string {
  const hash = digest.slice('sha256:'.length);
  const [name = ''] = readdirSync(join(scratch, 'store'), { recursive: true, encoding: 'utf8' }).filter(
    (path) => path.startsWith('images/') && path.includes(hash) && !path.endsWith('.json'),
  );
  const path = join(scratch, 'store', name);
  expect(createHash('sha256').update(readFileSync(path)).digest('hex')).toBe(hash);
  return path;
}
