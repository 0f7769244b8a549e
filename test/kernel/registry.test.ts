import { existsSync, mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import {
  containerKey,
  Registry,
  type Container,
  type ContainerRecord,
  type Namespaces,
  launchReply,
} from '../../src/container/index.js';
import { native } from '../../src/native/index.js';
import { FrameReader, v1 } from '../../src/protocol/index.js';
import { Caller } from './helpers/caller.js';
import { expectNothingLeft, mountsBelow, openDescriptors, residue, type Residue } from './helpers/residue.js';
import { makeScratch, removeScratch } from './helpers/scratch.js';
import { NOTHING_ASKED_FOR } from '../../src/options/index.js';

let scratch: string;
let directory: string;
let before: Residue;
const opened: Registry[] = [];

beforeEach(() => {
  scratch = makeScratch();
  directory = join(scratch, 'containers');
  openRegistry();
  before = residue(scratch);
});

afterEach(async () => {
  for (const registry of opened.splice(0)) for (const container of registry.all()) registry.end(container);
  expect(readdirSync(directory)).toEqual([]);
  try {
    await expectNothingLeft(scratch, before);
  } finally {
    removeScratch(scratch);
  }
});

function openRegistry(): Registry {
  const registry = new Registry(directory);
  opened.push(registry);
  return registry;
}

/** As berthd ends: its memory and descriptors go, the pins stay. */
function forget(registry: Registry): void {
  for (const fd of registry.all().flatMap(({ namespaces }) => namespaces)) native.close(fd);
  opened.splice(opened.indexOf(registry), 1);
}

/** A mount namespace without a process, in a user namespace where wanted. */
async function namespaces(userNamespace = true, kinds: readonly ('net' | 'ipc' | 'uts')[] = []): Promise<Namespaces> {
  const flags = kinds.map((kind) => `--${kind}`);
  const process = await Caller.connect(scratch, ['unshare', '--mount', ...flags, ...(userNamespace ? ['--user'] : [])]);
  try {
    const mount = native.openNamespace(process.pid, process.pidfd, 'mnt');
    const user = userNamespace ? native.openNamespace(process.pid, process.pidfd, 'user') : undefined;
    const others = kinds.map((kind) => native.openNamespace(process.pid, process.pidfd, kind));
    return { mount, user, others };
  } finally {
    await process.close();
  }
}

const record: Omit<ContainerRecord, 'id'> = {
  jobId: 7,
  uid: 1000,
  gid: 1000,
  gids: [1000, 2000],
  user: 'somebody',
  home: '/home/somebody',
  requestedImage: 'app',
  image: 'app:latest',
  digest: `sha256:${'a'.repeat(64)}`,
  created: 1_700_000_000,
  userNamespace: true,
  originMntns: 4_026_531_840,
  nodeName: 'n1',
};

async function add(registry: Registry, changes: Partial<ContainerRecord> = {}): Promise<Container> {
  const complete = { ...record, ...changes };
  return registry.pin(registry.reserve(complete), await namespaces(complete.userNamespace));
}

describe('a container', () => {
  it('is a record and a pin, in a directory that root alone may read', async () => {
    const container = await add(openRegistry());
    expect(container.id).toMatch(/^[0-9a-f]{12}$/);
    expect(JSON.parse(readFileSync(join(directory, container.id, 'container.json'), 'utf8'))).toEqual({
      ...record,
      id: container.id,
    });
    expect(mountsBelow(directory)).toEqual([join(directory, container.id, 'mnt')]);
    expect(statSync(directory).mode & 0o777).toBe(0o700);
    expect(statSync(join(directory, container.id)).mode & 0o777).toBe(0o700);
    expect(statSync(join(directory, container.id, 'container.json')).mode & 0o777).toBe(0o600);
  });

  it.each([
    [true, 2],
    [false, 1],
  ])(
    'has a reply that was made once, and its namespaces in the order of the protocol (user namespace: %s)',
    async (userNamespace, count) => {
      const container = await add(openRegistry(), { userNamespace });
      expect(container.namespaces).toHaveLength(count);
      expect(native.namespaceId(container.namespaces.at(-1) ?? -1)).toBe(container.mntns);
      const [payload = Buffer.alloc(0)] = new FrameReader(65_536).push(
        launchReply(container, NOTHING_ASKED_FOR, false),
      );
      expect(v1.Reply.decode(payload).launch).toMatchObject({
        containerId: container.id,
        userNamespace,
        originMntns: record.originMntns,
        image: 'app:latest',
        digest: record.digest,
      });
    },
  );

  it('is found by its key: job, user, groups in any order, image and view of the host', async () => {
    const registry = openRegistry();
    const container = await add(registry);
    expect(registry.byKey(containerKey({ ...record, gids: [2000, 1000] }))).toBe(container);
    for (const other of [
      { jobId: 8 },
      { uid: 1001 },
      { gid: 1 },
      { gids: [1000] },
      { requestedImage: 'app:v2' },
      { originMntns: 1 },
    ]) {
      expect(registry.byKey(containerKey({ ...record, ...other }))).toBeUndefined();
    }
  });

  it('ends with pin, record and descriptors; ending it again does nothing', async () => {
    const registry = openRegistry();
    const container = await add(registry);
    registry.end(container);
    expect(readdirSync(directory)).toEqual([]);
    expect(registry.byKey(containerKey(record))).toBeUndefined();
    const open = openDescriptors();
    registry.end(container);
    expect(openDescriptors()).toEqual(open);
  });

  it('that cannot be pinned leaves no directory', () => {
    const registry = openRegistry();
    expect(() => registry.pin(registry.reserve(record), { mount: 99_999, user: undefined, others: [] })).toThrow(
      /mount/,
    );
    expect(readdirSync(directory)).toEqual([]);
    expect(registry.all()).toEqual([]);
  });
});

describe('a berthd that starts again', () => {
  it('takes over all containers as they were', async () => {
    const first = openRegistry();
    const containers = [await add(first), await add(first, { jobId: 8, userNamespace: false })];
    forget(first);
    const second = openRegistry();
    expect(second.adopt()).toBe(2);
    for (const container of containers) {
      const adopted = second.byKey(containerKey(container));
      if (!adopted) throw new Error('it was not taken over');
      expect({ ...adopted, namespaces: undefined }).toEqual({ ...container, namespaces: undefined });
      expect(adopted.namespaces).toHaveLength(container.namespaces.length);
    }
  });

  it('has a container of several namespaces again, in their order', async () => {
    const first = openRegistry();
    for (const userNamespace of [true, false]) {
      const opened = await namespaces(userNamespace, ['net', 'ipc', 'uts']);
      const container = first.pin(first.reserve({ ...record, jobId: userNamespace ? 7 : 8, userNamespace }), opened);
      expect(container.namespaces.slice(userNamespace ? 1 : 0)).toEqual([opened.mount, ...opened.others]);
    }
    const ids = first.all().map(({ namespaces: fds }) => fds.map((fd) => native.namespaceId(fd)));
    forget(first);
    const second = openRegistry();
    expect(second.adopt()).toBe(2);
    const adopted = second.all().map(({ namespaces: fds }) => fds.map((fd) => native.namespaceId(fd)));
    expect(new Set(adopted.map(String))).toEqual(new Set(ids.map(String)));
  });

  it('removes what an earlier one had pinned of a container before it was killed', async () => {
    const first = openRegistry();
    const opened = await namespaces(true, ['net', 'uts']);
    const { id } = first.pin(first.reserve(record), opened);
    forget(first);
    native.unpin(join(directory, id, 'mnt'));
    expect(openRegistry().adopt()).toBe(0);
    expect(mountsBelow(directory)).toEqual([]);
  });

  it('mounts nothing a second time', async () => {
    const first = openRegistry();
    await add(first);
    forget(first);
    const mounts = mountsBelow(scratch);
    openRegistry().adopt();
    expect(mountsBelow(scratch)).toEqual(mounts);
  });

  it('removes what an earlier one had only begun, at whatever step it was killed', async () => {
    mkdirSync(join(directory, '0123456789aa'));
    mkdirSync(join(directory, '0123456789ab'));
    writeFileSync(join(directory, '0123456789ab', 'container.json'), '{"id": "0123456789');
    mkdirSync(join(directory, '0123456789ac'));
    writeFileSync(join(directory, '0123456789ac', 'container.json'), JSON.stringify({ ...record, id: '0123456789ac' }));
    mkdirSync(join(directory, '0123456789ad'));
    writeFileSync(join(directory, '0123456789ad', 'container.json'), JSON.stringify({ ...record, id: '0123456789ad' }));
    writeFileSync(join(directory, '0123456789ad', 'mnt'), '', { mode: 0o400 });
    writeFileSync(join(directory, 'a-stray-file'), '');
    const registry = openRegistry();
    const container = await add(registry);
    forget(registry);
    expect(openRegistry().adopt()).toBe(1);
    expect(readdirSync(directory)).toEqual([container.id]);
  });

  it.each([
    ['without its record', undefined],
    ['with a record of another container', JSON.stringify({ ...record, id: 'ffffffffffff' })],
    ['with a record that is no object', 'null'],
    ['with a record that another version of berthd wrote', (id: string) => JSON.stringify({ id, jobId: 7, uid: 1000 })],
    ['with a record whose groups are no numbers', (id: string) => JSON.stringify({ ...record, id, gids: ['a'] })],
  ])('lets go of a pin %s', async (_, text) => {
    const registry = openRegistry();
    const { id } = await add(registry);
    forget(registry);
    const path = join(directory, id, 'container.json');
    writeFileSync(path, typeof text === 'function' ? text(id) : (text ?? ''));
    const next = openRegistry();
    expect(next.adopt()).toBe(0);
    expect(next.all()).toEqual([]);
    expect(existsSync(join(directory, id))).toBe(false);
  });
});
