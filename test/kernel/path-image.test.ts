// Files in an image's place, as berthd deals with them: who opens and reads them, how often, and what stays when it fails.
import { execFileSync } from 'node:child_process';
import {
  chmodSync,
  chownSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  readSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { parseConfig } from '../../src/config/index.js';
import { BerthError, RemoteError } from '../../src/errors/index.js';
import { ImageStore } from '../../src/image/index.js';
import { Layout } from '../../src/image/layout.js';
import { PathImages, type FoundFile, type LaunchOrder, type Waiter } from '../../src/launch/index.js';
import { native } from '../../src/native/index.js';
import { Caller } from './helpers/caller.js';
import { file, makeArchive } from './helpers/images.js';
import { leavesNothing } from './helpers/lifecycle.js';
import { program, Running } from './helpers/programs.js';
import { makeScratch, removeScratch } from './helpers/scratch.js';
import { NOTHING_ASKED_FOR } from '../../src/options/index.js';

const nobody = { uid: 65_534, gid: 65_534, gids: [65_534] } as const;
const berth = [process.execPath, join(import.meta.dirname, '../../build/lib/cli.js')];

let scratch: string;
let store: ImageStore;
let caller: Caller;
let steps = 0;
beforeAll(async () => {
  scratch = makeScratch();
  chmodSync(scratch, 0o777);
  store = await ImageStore.open({ path: join(scratch, 'store'), compressionLevel: 1 });
  caller = await Caller.connect(scratch);
});
afterAll(async () => {
  await caller.close();
  removeScratch(scratch);
});
leavesNothing(() => scratch);

beforeEach(() => {
  writeFileSync(join(scratch, 'starts'), '');
  chmodSync(join(scratch, 'starts'), 0o666);
});
const starts = (): number => readFileSync(join(scratch, 'starts'), 'utf8').split('\n').length - 1;

/** What berthd has, with readers that count their starts, do this first and then read as `berth archive` does. */
function makeImages(first = '', toml = ''): PathImages {
  const { config, problems } = parseConfig(toml, 'test');
  expect(problems).toEqual([]);
  const script = join(scratch, `reader-${++steps}`);
  writeFileSync(script, `echo start >>${scratch}/starts\n${first}\nexec ${berth.join(' ')} "$@"\n`);
  return new PathImages(config, store.files, store.turns, ['/bin/sh', script]);
}

/** A tar archive with this text, which was changed long enough ago. */
async function makeFile(name: string, text: string, mode = 0o644): Promise<string> {
  const directory = join(scratch, `of-${name}`);
  mkdirSync(directory, { recursive: true });
  const path = join(scratch, name);
  execFileSync('cp', [makeArchive(directory, { text: file(text) }), path]);
  chmodSync(path, mode);
  await settle();
  return path;
}

/** Until clocks of file systems have gone on. */
const settle = (): Promise<void> => new Promise((resolve) => setTimeout(resolve, 2100));

const forEver: Waiter = { gone: new Promise<void>(() => undefined), tell: () => undefined };

/** As a rank of a new step asks. */
function find(
  images: PathImages,
  path: string,
  changes: Partial<LaunchOrder> = {},
  waiter = forEver,
): Promise<FoundFile> {
  const order = {
    jobId: 7,
    stepId: ++steps,
    ...nobody,
    ...NOTHING_ASKED_FOR,
    image: path,
    nodeName: 'n1',
    spoolDir: '',
    ...changes,
  };
  return images.find(order, caller, 1, waiter);
}

async function failure(work: Promise<unknown>): Promise<string> {
  const error = await work.then(
    () => undefined,
    (thrown: unknown) => thrown,
  );
  if (error instanceof BerthError || error instanceof RemoteError) return `${error.code}: ${error.why}`;
  throw new Error(`no error of the table: ${String(error)}`);
}

/** The store's unfinished work, and whoever holds a lease. */
const unfinished = (): string[] => ['tmp', 'leases'].flatMap((name) => readdirSync(join(scratch, 'store', name)));

describe('an image of a file', () => {
  it('is made once for all ranks, steps and nodes that share the store', async () => {
    const path = await makeFile('shared', 'shared');
    const nodes = [makeImages(), makeImages(), makeImages()];
    const step = { stepId: ++steps };
    const found = await Promise.all(
      nodes.flatMap((node) => [find(node, path, step), find(node, path, step), find(node, path)]),
    );
    expect(new Set(found.map(({ image }) => image)).size).toBe(1);
    expect(starts()).toBe(1);
    await find(makeImages(), path);
    expect(starts()).toBe(1);
    expect(unfinished()).toEqual([]);
  });

  it("is the user's alone: found by its digest, and not in their list of images", async () => {
    const path = await makeFile('own', 'own');
    const { image } = await find(makeImages(), path);
    expect(await store.resolve(image, nobody.uid)).toMatchObject({ digest: image, owner: nobody.uid, source: path });
    await expect(store.resolve(image, 1)).rejects.toMatchObject({ code: 'BERTH_IMAGE_UNKNOWN' });
    expect(await store.list(nobody.uid)).toEqual([]);
  });

  it("is root's alone where the file is root's", async () => {
    const path = await makeFile('of-root', 'of root', 0o600);
    const { image } = await find(makeImages(), path, { uid: 0, gid: 0, gids: [] });
    expect(await store.resolve(image, 0)).toMatchObject({ digest: image });
    await expect(store.resolve(image, nobody.uid)).rejects.toMatchObject({ code: 'BERTH_IMAGE_UNKNOWN' });
  });

  it('is made by each user who may read it, of one content one file', async () => {
    const path = await makeFile('common', 'common');
    const mine = await find(makeImages(), path);
    const theirs = await find(makeImages(), path, { uid: 1, gid: 1, gids: [] });
    expect(starts()).toBe(2);
    expect(theirs.image).toBe(mine.image);
  });

  it('is made anew when the file was changed, though its size and time of modification are the same', async () => {
    const path = await makeFile('changed', 'one');
    utimesSync(path, 1, 1);
    const before = await find(makeImages(), path);
    execFileSync('cp', [await makeFile('other', 'two'), path]);
    utimesSync(path, 1, 1);
    const after = await find(makeImages(), path);
    expect(after.image).not.toBe(before.image);
  });

  it('goes on being what it was for the ranks of a step that come late', async () => {
    const path = await makeFile('late', 'one');
    const images = makeImages();
    const step = { stepId: ++steps };
    const before = await find(images, path, step);
    execFileSync('cp', [await makeFile('later', 'two'), path]);
    expect(await find(images, path, step)).toEqual(before);
  });
});

describe('an image that nobody has launched for weeks', () => {
  it('is what the file has become for a job that has ended and was requeued, whose steps have the same numbers', async () => {
    const images = makeImages();
    const path = await makeFile('requeued.tar', 'one');
    const step = { stepId: ++steps };
    const before = await find(images, path, step);
    await makeFile('requeued.tar', 'two');
    images.endJob(8);
    expect(await find(images, path, step)).toEqual(before);
    images.endJob(7);
    expect((await find(images, path, step)).image).not.toBe(before.image);
  });

  it('is collected with what says of which file it was made, and made anew', async () => {
    const path = await makeFile('forgotten', 'forgotten');
    const { image } = await find(makeImages(), path);
    const layout = new Layout(join(scratch, 'store'));
    const old = Date.now() / 1000 - 40 * 86_400;
    const promise = join(layout.promisesOf(image), `uid-${nobody.uid}`);
    for (const aged of [promise, layout.image(image), layout.ref(nobody.uid, image)]) utimesSync(aged, old, old);
    const notes = (): string[] =>
      readdirSync(layout.files).filter((note) => readFileSync(join(layout.files, note), 'utf8').includes(image));
    expect(notes()).toHaveLength(1);
    const options = { dryRun: false, promiseDays: 30, layerCache: 0, mounted: new Set<string>(), settling: 0 };
    const collected = await store.upkeep.collect(options);
    expect(collected.filter(({ keptFor }) => keptFor === undefined).map((entry) => entry.name)).toEqual([image]);
    expect(notes()).toEqual([]);
    expect((await find(makeImages(), path)).image).toBe(image);
    expect(starts()).toBe(2);
  });
});

describe('the reader', () => {
  it('has the rights of the user and no others', async () => {
    const path = await makeFile('rights', 'rights');
    const answer = join(scratch, 'rights-of-reader');
    writeFileSync(answer, '');
    chmodSync(answer, 0o666);
    await find(
      makeImages(`{ id -u; id -G; grep -E '^(CapEff|CapBnd|NoNewPrivs)' /proc/self/status; } >${answer}`),
      path,
    );
    expect(readFileSync(answer, 'utf8').split(/\s+/).slice(0, -1)).toEqual([
      ...['65534', '65534', 'CapEff:', '0000000000000000', 'CapBnd:', '0000000000000000', 'NoNewPrivs:', '1'],
    ]);
  });

  it('is ended when nobody waits any more, and leaves nothing', async () => {
    const path = await makeFile('left', 'left');
    let leave = (): void => undefined;
    const gone = new Promise<void>((resolve) => (leave = resolve));
    const work = failure(
      find(makeImages(`echo $$ >${scratch}/pid; sleep 60`), path, {}, { gone, tell: () => undefined }),
    );
    await expect.poll(starts).toBe(1);
    leave();
    expect(await work).toBe('BERTH_FILE_UNUSABLE: whoever waited for it is gone');
    await expect.poll(unfinished).toEqual([]);
  });

  it('ends in time', async () => {
    const path = await makeFile('slow', 'slow');
    expect(await failure(find(makeImages('while :; do sleep 1; done', '[store]\npull_timeout = 1\n'), path))).toContain(
      'longer than 1 s',
    );
    expect(unfinished()).toEqual([]);
  });

  it('finds a file that was changed meanwhile', async () => {
    const path = await makeFile('moving', 'moving');
    expect(
      await failure(find(makeImages(`touch ${path} || chmod 644 ${path}`), path, { uid: 0, gid: 0, gids: [] })),
    ).toMatch(/^BERTH_FILE_CHANGED: /);
    expect(unfinished()).toEqual([]);
  });

  it('says how far it is, to everyone who waits', async () => {
    const path = await makeFile('told', 'told');
    const told: string[] = [];
    await find(makeImages('sleep 1.5'), path, {}, { ...forEver, tell: (text: string) => void told.push(text) });
    expect(told.filter((text) => text !== '')).toEqual([`n1: making an image of ${path}`]);
    expect(told.length).toBeGreaterThan(3);
  });
});

describe('the opener', () => {
  it('opens what the user may read, and nothing else', async () => {
    const path = await makeFile('locked', 'locked', 0o600);
    expect(await failure(find(makeImages(), path))).toBe('BERTH_FILE_UNUSABLE: permission denied');
    chownSync(path, nobody.uid, nobody.gid);
    await settle();
    expect((await find(makeImages(), path)).path).toBe(path);
  });

  it('counts groups in', async () => {
    const path = await makeFile('of-a-group', 'of a group', 0o640);
    chownSync(path, 0, 4);
    expect(await failure(find(makeImages(), path))).toBe('BERTH_FILE_UNUSABLE: permission denied');
    expect((await find(makeImages(), path, { gids: [65_534, 4] })).path).toBe(path);
  });

  it("looks in the caller's mount namespace", async () => {
    const path = await makeFile('inside', 'inside');
    const place = join(scratch, 'place');
    mkdirSync(place);
    const script = `mount -t tmpfs none ${place} && cp ${path} ${place}/own && exec "$0" "$@"`;
    const inside = await Caller.connect(scratch, ['unshare', '--mount', 'sh', '-c', script]);
    try {
      const order = {
        jobId: 7,
        stepId: ++steps,
        ...nobody,
        ...NOTHING_ASKED_FOR,
        image: join(place, 'own'),
        nodeName: 'n1',
        spoolDir: '',
      };
      expect(existsSync(join(place, 'own'))).toBe(false);
      expect((await makeImages().find(order, inside, 2, forEver)).path).toBe(join(place, 'own'));
    } finally {
      await inside.close();
    }
  });

  it('takes nothing of FUSE, whose server may never answer', async () => {
    const image = join(scratch, 'fuse.sqsh');
    const place = join(scratch, 'fuse');
    mkdirSync(place);
    execFileSync('mksquashfs', [join(scratch, 'starts'), image, '-quiet', '-no-progress']);
    execFileSync('squashfuse', ['-o', 'allow_other', image, place]);
    try {
      expect(await failure(find(makeImages(), join(place, 'starts')))).toContain('a file of a FUSE file system');
    } finally {
      execFileSync('umount', [place]);
    }
  });

  it('holds nobody up where a file system never answers, and is not even to be killed', async () => {
    const silent = join(scratch, 'silent');
    mkdirSync(silent);
    const filesystem = await Running.start(program('silent-filesystem'), silent);
    expect(await filesystem.line()).toBe('mounted');
    const images = makeImages('', '[container]\nbuild_timeout = 1\n');
    // More than the pool has threads.
    const failures = [1, 2, 3, 4, 5, 6].map((name) => failure(find(images, join(silent, String(name)))));
    expect(await filesystem.line()).toBe('asked');
    const meanwhile = readFile(join(scratch, 'starts'), 'utf8').then(() => 'others go on');
    expect(await Promise.race([meanwhile, ...failures])).toBe('others go on');
    for (const each of failures) {
      expect(await each).toBe('BERTH_FILE_UNUSABLE: its file system did not answer within 1 s');
    }
    await filesystem.stop();
  });

  it('is started once for ranks that ask about the same time, each of which has a descriptor of its own', async () => {
    const path = await makeFile('opened-once', 'opened once');
    const images = makeImages('', '[store]\nfiles = "fuse"\n');
    const step = { stepId: ++steps };
    const found = await Promise.all(Array.from({ length: 32 }, () => find(images, path, step)));
    const descriptors = found.flatMap(({ descriptor }) => (descriptor === undefined ? [] : [descriptor]));
    expect(new Set(descriptors).size).toBe(32);
    expect(new Set(found.map(({ image }) => image)).size).toBe(1);
    // Duplicates of one have one place in the file.
    readSync(descriptors[0] ?? -1, Buffer.alloc(7));
    for (const descriptor of descriptors) {
      expect(readFileSync(`/proc/self/fdinfo/${descriptor}`, 'utf8')).toMatch(/^pos:\t7$/m);
      expect(readlinkSync(`/proc/self/fd/${descriptor}`)).toBe(path);
      native.close(descriptor);
    }
    const missing = await Promise.all(
      Array.from({ length: 4 }, () => failure(find(images, `${path}-not`, { stepId: steps }))),
    );
    expect(new Set(missing)).toEqual(new Set(['BERTH_FILE_UNUSABLE: no such file or directory']));
  });

  it('hands out a descriptor where the kernel is to mount the file as it is', async () => {
    const path = await makeFile('as-it-is', 'as it is');
    const found = await find(makeImages('', '[store]\nfiles = "mount-unsafely"\n'), path);
    expect(found.path).toBe(path);
    if (found.descriptor === undefined) throw new Error('there is no descriptor');
    native.close(found.descriptor);
    expect(starts()).toBe(0);
  });
});
