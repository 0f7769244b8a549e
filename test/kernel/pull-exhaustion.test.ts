import { mkdirSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { v1 } from '../../src/protocol/index.js';
import { makeImage, type Image } from '../registry/image.js';
import { TestDaemon } from './helpers/daemon.js';
import { writeLayout } from './helpers/layouts.js';
import { PullClient, wantedOf } from './helpers/pull-client.js';
import { nothingUnfinished } from './pull-tools.js';

// What clients could use up: every pipe that berthd has taken of a client is closed again, however the pull ends.

const { Kind } = v1.PullEvent;

let daemon: TestDaemon;
let layout: string;
let image: Image;
let pullers: PullClient[];
let before: number;

beforeEach(async () => {
  daemon = new TestDaemon('compression_level = 1\n');
  layout = join(daemon.directory, 'layout');
  mkdirSync(layout, { mode: 0o755 });
  const layers = ['a', 'b', 'c', 'd'].map((name) => ({ content: { [name]: name } }));
  image = makeImage({ layers });
  writeLayout(layout, [image]);
  pullers = [];
  await daemon.start();
  before = descriptors();
});

afterEach(async () => {
  for (const puller of pullers) puller.close();
  await nothingUnfinished(daemon);
  await daemon.remove();
});

function descriptors(): number {
  return readdirSync(`/proc/${daemon.pid}/fd`).length;
}

async function open(): Promise<PullClient> {
  const puller = await PullClient.open(daemon.socket, layout);
  pullers.push(puller);
  return puller;
}

/** What is there once what was begun is under way, is what there may be later. */
async function settled(): Promise<void> {
  await sleep(500);
  before = descriptors();
}

async function nothingKept(): Promise<void> {
  await expect.poll(descriptors).toBeLessThanOrEqual(before);
}

describe('a pull that is refused keeps no descriptor', () => {
  const digest = `sha256:${'1'.repeat(64)}`;

  it('when its manifest is not what its digest says: the index is not read any more', async () => {
    for (let i = 0; i < 8; i++) {
      const puller = await open();
      const manifestFd = puller.pipeOf(Buffer.from('wrong'));
      puller.client.send({
        pull: { name: 'app', manifest: digest, manifestFd, index: digest, indexFd: puller.pipeOf() },
      });
      await expect(puller.event()).rejects.toMatchObject({ code: 'BERTH_PULL_DIGEST' });
      puller.close();
    }
    await nothingKept();
  });

  it('when its index comes through no pipe', async () => {
    for (let i = 0; i < 8; i++) {
      const puller = await open();
      puller.client.send({
        pull: { name: 'app', manifest: digest, manifestFd: puller.pipeOf(), index: digest, indexFd: 1 },
      });
      await expect(puller.event()).rejects.toMatchObject({ code: 'BERTH_PULL_FAILED' });
      puller.close();
    }
    await nothingKept();
  });
});

describe('a client that goes away while it waits for its turn', () => {
  it('keeps no descriptor: not for documents', async () => {
    const request = async (): Promise<PullClient> => {
      const puller = await open();
      const pipes = { manifestFd: puller.pipeOf(), indexFd: puller.pipeOf() };
      const { digest } = image.manifest;
      puller.client.send({ pull: { name: 'app', manifest: digest, index: digest, ...pipes } });
      return puller;
    };
    const reading = await Promise.all([1, 2, 3, 4].map(request));
    await settled();
    for (let i = 0; i < 8; i++) {
      const puller = await request();
      await sleep(50);
      puller.close();
    }
    await nothingKept();
    for (const puller of reading) puller.close();
  });

  it('keeps no descriptor: not for blobs that it takes back', async () => {
    const puller = await open();
    puller.request({ manifest: image.manifest.digest, name: 'app' });
    const layers = wantedOf(await puller.until(Kind.KIND_WANTED)).slice(-4);
    const [last = '', ...first] = layers;
    for (const digest of first) puller.client.send({ pullBlob: { digest, fd: puller.pipeOf() } });
    const fd = puller.pipeOf();
    puller.client.send({ pullBlob: { digest: last, fd } });
    await settled();
    for (let i = 0; i < 50; i++) {
      puller.end(last, true);
      puller.client.send({ pullBlob: { digest: last, fd } });
    }
    puller.end(last, true);
    // Requests are answered in their order.
    puller.client.send({ list: {} });
    expect(await puller.client.reply()).toMatchObject({ list: {} });
    await nothingKept();
  });
});
