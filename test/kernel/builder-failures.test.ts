import { execFileSync } from 'node:child_process';
import { mkdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Builders, ContainerBuilder } from '../../src/container/index.js';
import { native, type Builder } from '../../src/native/index.js';
import { frame, v1 } from '../../src/protocol/index.js';
import { Caller } from './helpers/caller.js';
import {
  buildOnce,
  construct,
  mountFile,
  specificationOf,
  testedBuilder,
  USER,
  type TestContainer,
} from './helpers/container.js';
import { makeImage, toolbox } from './helpers/images.js';
import { program, Running } from './helpers/programs.js';
import { childrenNamed } from './helpers/residue.js';
import { leavesNothing } from './helpers/lifecycle.js';
import { makeScratch, removeScratch } from './helpers/scratch.js';

// What goes wrong in the middle of a build.

let scratch: string;
let image: string;
let caller: Caller;

beforeAll(async () => {
  scratch = makeScratch();
  image = makeImage(scratch, { toolbox: toolbox() });
  caller = await Caller.connect(scratch);
  mkdirSync(join(scratch, 'silent'));
});

afterAll(async () => {
  await caller.close();
  removeScratch(scratch);
});

leavesNothing(() => scratch);

/** A file system that takes a look-up and never answers, for the time of `use`. */
async function withSilentFilesystem(use: (filesystem: Running) => Promise<void>): Promise<void> {
  const filesystem = await Running.start(program('silent-filesystem'), join(scratch, 'silent'));
  expect(await filesystem.line()).toBe('mounted');
  try {
    await use(filesystem);
  } finally {
    await filesystem.stop();
  }
}

/** Builds with a mount on the silent file system: the builder hangs there. */
function hangingBuild(timeout: number): Promise<TestContainer> {
  const mounts = [{ source: join(scratch, 'silent', 'x'), destination: '/data' }];
  return construct(scratch, image, caller, { mounts, timeout });
}

/** The one builder there is. */
async function builderPid(): Promise<number> {
  await expect.poll(() => childrenNamed('berth-builder').length, { interval: 2 }).toBe(1);
  return childrenNamed('berth-builder')[0] ?? 0;
}

describe('a builder that hangs in a file system', () => {
  it('is given up after the timeout, although it cannot be killed, and is gone once the file system is', () =>
    withSilentFilesystem(async (filesystem) => {
      const built = hangingBuild(500);
      built.catch(() => undefined);
      expect(await filesystem.line()).toBe('asked');
      await expect(built).rejects.toMatchObject({
        code: 'BERTH_BUILD_TIMEOUT',
        what: expect.stringMatching(/within 0.5 s/) as string,
      });
      expect(readFileSync(`/proc/${await builderPid()}/stat`, 'utf8')).toMatch(/\) D /);
    }));

  it('does not keep the next build from working', () =>
    withSilentFilesystem(async () => {
      await expect(hangingBuild(300)).rejects.toMatchObject({ code: 'BERTH_BUILD_TIMEOUT' });
      const container = await construct(scratch, image, caller);
      expect(await container.ask('list', '/')).toBe('toolbox');
      container.close();
    }));
});

describe('a builder that the user', () => {
  it('has stopped is given up after the timeout', () =>
    withSilentFilesystem(async (filesystem) => {
      const built = hangingBuild(400);
      built.catch(() => undefined);
      await filesystem.line();
      process.kill(await builderPid(), 'SIGSTOP');
      await filesystem.stop();
      await expect(built).rejects.toMatchObject({ code: 'BERTH_BUILD_TIMEOUT' });
    }));

  it('has killed fails the build at once', () =>
    withSilentFilesystem(async (filesystem) => {
      const built = hangingBuild(10_000);
      built.catch(() => undefined);
      await filesystem.line();
      process.kill(await builderPid(), 'SIGKILL');
      await filesystem.stop();
      await expect(built).rejects.toMatchObject({
        code: 'BERTH_BUILD_FAILED',
        why: expect.stringMatching(/builder ended|connection reset/) as string,
      });
    }));

  it('would trace is out of reach: it belongs to root while it lives', () =>
    withSilentFilesystem(async (filesystem) => {
      const built = hangingBuild(10_000);
      built.catch(() => undefined);
      await filesystem.line();
      const pid = await builderPid();
      expect(readFileSync(`/proc/${pid}/status`, 'utf8')).toMatch(new RegExp(`^Uid:\t${USER.uid}\t${USER.uid}\t`, 'm'));
      const secrets = ['mem', 'environ', 'maps', 'fd', 'ns/user', 'ns/mnt', 'root'].map(
        (name) => `/proc/${pid}/${name}`,
      );
      const asUser = ['--reuid', String(USER.uid), '--regid', String(USER.gid), '--clear-groups'];
      const answers = execFileSync('setpriv', [...asUser, program('toolbox'), 'open', ...secrets], {
        encoding: 'utf8',
      });
      expect(answers.trimEnd().split('\n')).toEqual(secrets.map(() => 'EACCES'));
      await filesystem.stop();
      await expect(built).rejects.toMatchObject({ code: 'BERTH_MOUNT_SOURCE' });
    }));
});

describe('a builder that is not needed after all', () => {
  it.each(['before it runs', 'while it waits for its specification', 'while it waits for the image'])(
    'is ended and reaped: %s',
    async (moment) => {
      mkdirSync(join(scratch, 'workspace'), { recursive: true });
      const builder = new ContainerBuilder(caller.pidfd, new Builders(testedBuilder));
      const started = builder.start();
      if (moment !== 'before it runs') await started;
      if (moment === 'while it waits for the image')
        await builder.begin(specificationOf({}, join(scratch, 'workspace')));
      builder.end();
      await started;
      await expect.poll(() => childrenNamed('berth-builder')).toEqual([]);
    },
  );
});

describe('an image that comes after the builder has failed', () => {
  it('does not hide why', async () => {
    const mount = await mountFile(image);
    mkdirSync(join(scratch, 'workspace'), { recursive: true });
    const mounts = [{ source: join(scratch, 'absent'), destination: '/data' }];
    const specification = specificationOf({ mounts }, join(scratch, 'workspace'));
    const builder = new ContainerBuilder(caller.pidfd, new Builders(testedBuilder));
    await builder.start();
    await builder.begin(specification);
    const pid = await builderPid();
    await expect.poll(() => readFileSync(`/proc/${pid}/stat`, 'utf8')).toMatch(/\) Z /);
    await expect(builder.finish(specification, mount, [], 10_000, () => undefined)).rejects.toMatchObject({
      code: 'BERTH_MOUNT_SOURCE',
    });
    builder.end();
    native.close(mount);
  });
});

describe('a caller that has ended', () => {
  it('fails the build with a reason', async () => {
    const gone = await Caller.connect(scratch);
    await gone.leave();
    await expect(construct(scratch, image, gone)).rejects.toMatchObject({
      code: 'BERTH_BUILD_FAILED',
      why: expect.stringContaining("setns: the caller's mount namespace") as string,
    });
    await gone.close();
  });
});

describe('what takes over the namespaces', () => {
  it('and fails has closed them already: they are not closed twice', async () => {
    const mount = await mountFile(image);
    mkdirSync(join(scratch, 'workspace'), { recursive: true });
    const keep = ({ mount: namespace, user }: { mount: number; user: number | undefined }): void => {
      native.close(namespace);
      if (user !== undefined) native.close(user);
      throw new Error('no room for a pin');
    };
    const specification = specificationOf({}, join(scratch, 'workspace'));
    await expect(buildOnce(specification, mount, caller, keep)).rejects.toMatchObject({
      code: 'BERTH_BUILD_FAILED',
      why: 'no room for a pin',
    });
    native.close(mount);
  });
});

/** A builder that has its caller and waits for the specification. */
async function spawnWithCaller(): Promise<Builder> {
  const builder = await native.spawnBuilder(testedBuilder);
  native.sendDescriptors(builder.socket, Buffer.from('.'), [caller.pidfd]);
  return builder;
}

describe('a builder without its berthd', () => {
  it.each([
    ['before the specification', Buffer.alloc(0)],
    ['in the middle of it', Buffer.from([0, 0, 1])],
    ['after half of what was announced', Buffer.from([0, 0, 0, 9, 8, 1])],
  ])('ends by itself: %s', async (_, bytes) => {
    const { pidfd, socket } = await spawnWithCaller();
    if (bytes.length > 0) native.sendDescriptors(socket, bytes, []);
    native.close(socket);
    await expect.poll(() => native.reap(pidfd), { interval: 5 }).toBe(true);
    native.close(pidfd);
  });

  it('ends by itself while it waits for its id maps', async () => {
    const { pid, pidfd, socket } = await spawnWithCaller();
    const { message } = specificationOf({}, join(scratch, 'workspace'));
    native.sendDescriptors(socket, frame(v1.BuildSpec.encode(message).finish()), []);
    await expect
      .poll(() => readFileSync(`/proc/${pid}/status`, 'utf8'))
      .toMatch(new RegExp(`^Uid:\t${USER.uid}\t`, 'm'));
    native.close(socket);
    await expect.poll(() => native.reap(pidfd), { interval: 5 }).toBe(true);
    native.close(pidfd);
  });

  it.each([
    ['a frame longer than any specification', Buffer.from([0x7f, 0xff, 0xff, 0xff])],
    ['bytes that are no specification', frame(Buffer.alloc(64, 0xff))],
  ])('refuses %s', async (_, bytes) => {
    const { pidfd, socket } = await spawnWithCaller();
    native.sendDescriptors(socket, bytes, []);
    await expect.poll(() => native.reap(pidfd), { interval: 5 }).toBe(true);
    const event = v1.BuildEvent.decode(readFileSync(socket).subarray(4));
    expect(event).toMatchObject({ kind: v1.BuildEvent.Kind.KIND_FAILED, step: v1.BuildStep.BUILD_STEP_SPEC });
    native.close(pidfd);
    native.close(socket);
  });
});
