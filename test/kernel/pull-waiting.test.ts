import { mkdirSync, readdirSync, readFileSync, utimesSync, writeFileSync } from 'node:fs';
import { hostname } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { v1 } from '../../src/protocol/index.js';
import { makeImage, type Image } from '../registry/image.js';
import { TestDaemon } from './helpers/daemon.js';
import { writeLayout } from './helpers/layouts.js';
import { kindsOf, PullClient, wantedOf } from './helpers/pull-client.js';
import { nothingUnfinished } from './pull-tools.js';

// Several who want the same image, in one berthd and in two that share a store.

const { Kind } = v1.PullEvent;

let daemon: TestDaemon;
let layout: string;
let image: Image;
let pullers: PullClient[];

beforeEach(async () => {
  daemon = new TestDaemon('compression_level = 1\n');
  layout = join(daemon.directory, 'layout');
  mkdirSync(layout, { mode: 0o755 });
  image = makeImage({ layers: [{ content: { 'etc/a': 'a' } }, { content: { 'etc/b': 'b' } }] });
  writeLayout(layout, [image]);
  pullers = [];
  await daemon.start();
});

afterEach(async () => {
  for (const puller of pullers) puller.close();
  await nothingUnfinished(daemon);
  await daemon.remove();
});

async function open(socket = daemon.socket): Promise<PullClient> {
  const puller = await PullClient.open(socket, layout);
  pullers.push(puller);
  return puller;
}

const leaseOf = ({ manifest }: Image): string =>
  join(daemon.directory, 'store/leases', `${manifest.digest.slice('sha256:'.length)}.json`);

const options = (name: string, uid = 0, everyone = false) => ({ manifest: image.manifest.digest, name, uid, everyone });

/** The first of two pulls, which has been asked for its blobs. */
async function first(uid = 0, everyone = false): Promise<{ puller: PullClient; wanted: string[] }> {
  const puller = await open();
  puller.request(options('first', uid, everyone));
  return { puller, wanted: wantedOf(await puller.until(Kind.KIND_WANTED)) };
}

function send(puller: PullClient, wanted: readonly string[]): Promise<v1.PullEvent[]> {
  for (const digest of wanted) {
    puller.blob(digest);
    puller.end(digest);
  }
  return puller.until(Kind.KIND_DONE);
}

describe('who wants what somebody else pulls', () => {
  it('is told so, sees how far that is, and has it when it is done', async () => {
    const { puller, wanted } = await first();
    const second = await open();
    second.request(options('second'));
    const [waiting] = await second.until(Kind.KIND_WAITING);
    expect(waiting?.who).toBe(`root on ${hostname()}`);
    const [config = '', layer = ''] = wanted;
    puller.client.send({ pullProgress: { blobs: [{ digest: layer, received: '7' }] } });
    puller.blob(config);
    const progress = (await second.until(Kind.KIND_PROGRESS)).at(-1)?.blobs ?? [];
    expect(progress).toHaveLength(3);
    expect(progress.find(({ digest }) => digest === layer)).toMatchObject({ received: '7' });
    await send(puller, wanted.slice(1));
    const events = await second.until(Kind.KIND_DONE);
    expect(kindsOf(events)).not.toContain('WANTED');
    expect(events.at(-1)?.pinned).toBe(`second:latest@${image.manifest.digest}`);
  });

  it('is asked to show that they may have it, where it is not known to be for everyone', async () => {
    const { puller, wanted } = await first(2001);
    const second = await open();
    second.request(options('second', 2002));
    await second.until(Kind.KIND_WAITING);
    await send(puller, wanted);
    const events = await second.finish();
    expect(wantedOf(events)).toEqual(wanted);
  });

  it('need not show it where it was read without credentials', async () => {
    const { puller, wanted } = await first(2001, true);
    const second = await open();
    second.request(options('second', 2002));
    await second.until(Kind.KIND_WAITING);
    await send(puller, wanted);
    expect(wantedOf(await second.finish())).toEqual([]);
  });

  it('takes it up at once when whoever pulled it is gone, with the blobs that were stored', async () => {
    const { puller, wanted } = await first();
    const second = await open();
    second.request(options('second'));
    await second.until(Kind.KIND_WAITING);
    puller.blob(wanted[1] ?? '');
    await puller.until(Kind.KIND_STORED);
    // As if touched in an hour: nobody would think it given up.
    const later = Date.now() / 1000 + 3600;
    utimesSync(leaseOf(image), later, later);
    puller.client.socket.destroy();
    expect(wantedOf(await second.finish())).toEqual([wanted[0], wanted[2]]);
  });

  it('goes away like anybody else', async () => {
    const { puller, wanted } = await first();
    const second = await open();
    second.request(options('second'));
    await second.until(Kind.KIND_WAITING);
    second.client.socket.destroy();
    await send(puller, wanted);
    expect(readdirSync(join(daemon.directory, 'store/refs/site'))).not.toContain('second:latest.json');
  });
});

describe('two berthds with one store', () => {
  let other: TestDaemon;

  beforeEach(async () => {
    other = new TestDaemon();
    const places = `[daemon]\nruntime_directory = "${join(other.directory, 'run')}"\n`;
    writeFileSync(
      other.config,
      `${places}[store]\npath = "${join(daemon.directory, 'store')}"\ncompression_level = 1\n`,
    );
    await other.start();
  });

  afterEach(async () => {
    await other.remove();
  });

  it('pull an image once: the second sees how far the first is', async () => {
    const { puller, wanted } = await first();
    const second = await open(other.socket);
    second.request(options('second'));
    await second.until(Kind.KIND_WAITING);
    puller.blob(wanted[0] ?? '');
    await puller.until(Kind.KIND_STORED);
    const progress = (await second.until(Kind.KIND_PROGRESS)).at(-1)?.blobs ?? [];
    expect(progress).toHaveLength(3);
    await send(puller, wanted.slice(1));
    expect(wantedOf(await second.until(Kind.KIND_DONE))).toEqual([]);
  });

  it('go on where one is killed', async () => {
    const { puller, wanted } = await first();
    puller.blob(wanted[1] ?? '');
    await puller.until(Kind.KIND_STORED);
    const second = await open(other.socket);
    second.request(options('second'));
    await second.until(Kind.KIND_WAITING);
    await daemon.end('SIGKILL');
    const events = await second.finish();
    expect(wantedOf(events)).toEqual([wanted[0], wanted[2]]);
    await daemon.start();
    expect(daemon.log).toContain('"removed":1');
  });

  it("take over the lease of a host that does not answer, by the store's own clock", { timeout: 40_000 }, async () => {
    const path = leaseOf(image);
    const owner = { host: 'another-node', boot: '0'.repeat(16), pid: 1, start: '1' };
    writeFileSync(path, JSON.stringify({ owner, uid: 0, progress: { blobs: [], made: 0 } }));
    const puller = await open();
    puller.request(options('app'));
    const begin = Date.now();
    const [waiting] = await puller.until(Kind.KIND_WAITING);
    expect(waiting?.who).toBe('root on another-node');
    await puller.finish();
    expect(Date.now() - begin).toBeGreaterThan(8000);
    expect(() => readFileSync(path)).toThrow('ENOENT');
  });
});
