import { openSync, closeSync, mkdirSync, readdirSync } from 'node:fs';
import { execFileSync } from 'node:child_process';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { v1 } from '../../src/protocol/index.js';
import { digestOf } from '../registry/layers.js';
import { makeImage, type Image } from '../registry/image.js';
import { TestDaemon } from './helpers/daemon.js';
import { readBlob, writeLayout } from './helpers/layouts.js';
import { kindsOf, PullClient, wantedOf } from './helpers/pull-client.js';
import { noise } from './import-tools.js';
import { pullAs, nothingUnfinished } from './pull-tools.js';

// Clients that send what is wrong, go away, or ask for what they may not have.

const { Kind } = v1.PullEvent;
const MANIFEST = 'application/vnd.oci.image.manifest.v1+json';

let daemon: TestDaemon;
let layout: string;
let image: Image;
let puller: PullClient;

beforeEach(() => {
  daemon = new TestDaemon('compression_level = 1\n');
  layout = join(daemon.directory, 'layout');
  mkdirSync(layout, { mode: 0o755 });
  image = makeImage({ layers: [{ content: { 'etc/a': 'a' } }, { content: { 'etc/noise': noise(2_000_000) } }] });
  writeLayout(layout, [image]);
});

afterEach(async () => {
  puller.close();
  await nothingUnfinished(daemon);
  await daemon.remove();
});

/** A pull that is asked for its blobs. */
async function asked(): Promise<string[]> {
  await daemon.start();
  puller = await PullClient.open(daemon.socket, layout);
  puller.request({ manifest: image.manifest.digest, name: 'app' });
  return wantedOf(await puller.until(Kind.KIND_WANTED));
}

/** A pull of a manifest that says what it likes. */
async function pullManifest(content: object | Buffer, digest?: string): Promise<PullClient> {
  await daemon.start();
  puller = await PullClient.open(daemon.socket, layout);
  const bytes = Buffer.isBuffer(content) ? content : Buffer.from(JSON.stringify(content));
  const manifest = digest ?? digestOf(bytes);
  puller.client.send({ pull: { name: 'app', manifest, manifestFd: puller.pipeOf(bytes) } });
  return puller;
}

function stored(): string[] {
  const store = join(daemon.directory, 'store');
  return ['images/sha256', 'manifests/sha256', 'refs/site'].flatMap((part) => readdirSync(join(store, part)));
}

describe('a blob', () => {
  it('that is not what its digest says ends the pull, and nothing of it is kept', async () => {
    const [, layer = ''] = await asked();
    puller.blob(layer, readBlob(layout, image.layers[1]?.digest ?? ''));
    puller.end(layer);
    await expect(puller.finish()).rejects.toMatchObject({
      code: 'BERTH_PULL_DIGEST',
      what: `the blob ${layer} of app:latest is not what the registry announced`,
    });
    expect(readdirSync(join(daemon.directory, 'store/layers/sha256'))).toEqual([]);
    expect(stored()).toEqual([]);
  });

  it('that was cut short can be sent again when the client says that it failed', async () => {
    const [config = '', small = '', large = ''] = await asked();
    puller.blob(large, readBlob(layout, large).subarray(0, 1_000_000));
    puller.end(large, true);
    for (const digest of [config, small, large]) {
      puller.blob(digest);
      puller.end(digest);
    }
    expect(kindsOf(await puller.finish()).at(-1)).toBe('DONE');
  });

  it('whose archive is not that of the configuration ends the pull', async () => {
    await daemon.start();
    const [first, second] = image.layers;
    const diffIds = [second?.diffId, first?.diffId];
    const config = Buffer.from(
      JSON.stringify({ os: 'linux', architecture: 'amd64', rootfs: { type: 'layers', diff_ids: diffIds } }),
    );
    const manifest = JSON.parse(image.manifest.bytes.toString()) as { config: { digest: string; size: number } };
    manifest.config.digest = digestOf(config);
    manifest.config.size = config.length;
    const bytes = Buffer.from(JSON.stringify(manifest));
    const documents = [config, bytes].map((one) => ({ bytes: one, digest: digestOf(one), mediaType: '' }));
    writeLayout(layout, [], documents);
    puller = await PullClient.open(daemon.socket, layout);
    puller.request({ manifest: digestOf(bytes), name: 'app' });
    await expect(puller.finish()).rejects.toMatchObject({
      code: 'BERTH_PULL_DIGEST',
      why: expect.stringContaining('where the configuration has') as string,
    });
    expect(stored()).toEqual([]);
  });

  it.each([
    ['nobody asked for', () => `sha256:${'0'.repeat(64)}`],
    ['has no digest that is one', () => '../../etc/shadow'],
    ['is there already', (digests: string[]) => digests[0] ?? ''],
  ])('that %s ends the connection', async (_, choose) => {
    const wanted = await asked();
    puller.blob(wanted[0] ?? '');
    await puller.until(Kind.KIND_STORED);
    puller.blob(choose(wanted), Buffer.from('x'));
    await expect(puller.finish()).rejects.toMatchObject({ code: 'BERTH_PROTOCOL_FRAME' });
    await puller.client.closed;
  });

  it('cannot be read from what is no pipe of the client: not from a file that root may read', async () => {
    const [config = ''] = await asked();
    const file = openSync('/etc/shadow', 'r');
    puller.client.send({ pullBlob: { digest: config, fd: file } });
    await expect(puller.finish()).rejects.toMatchObject({
      code: 'BERTH_PULL_FAILED',
      why: 'the client gave something else than a pipe of its own',
    });
    closeSync(file);
  });

  it('before anything was asked for ends the connection', async () => {
    await daemon.start();
    puller = await PullClient.open(daemon.socket, layout);
    puller.blob(image.config.digest);
    await expect(puller.event()).rejects.toMatchObject({ code: 'BERTH_PROTOCOL_FRAME' });
  });
});

describe('a manifest', () => {
  const digest = `sha256:${'1'.repeat(64)}`;
  const config = { mediaType: 'application/vnd.oci.image.config.v1+json', digest, size: 10 };
  const layer = {
    mediaType: 'application/vnd.oci.image.layer.v1.tar+gzip',
    digest: digest.replace(/1/g, '2'),
    size: 9,
  };
  const whole = { schemaVersion: 2, mediaType: MANIFEST, config, layers: [layer] };

  it.each<[string, object | Buffer, RegExp]>([
    ['is no JSON', Buffer.from('{'), /no JSON object/],
    ['is an index', { ...whole, manifests: [] }, /several platforms/],
    ['is of the first schema', { ...whole, schemaVersion: 1 }, /schema 1/],
    ['is of no known type', { ...whole, mediaType: 'text/plain' }, /unknown type "text\/plain"/],
    [
      'is of something else than an image',
      { ...whole, config: { ...config, mediaType: 'application/vnd.cncf.helm.config.v1+json' } },
      /no container image/,
    ],
    [
      'is all members: reading it would hold up launches',
      Buffer.from(JSON.stringify(Object.fromEntries(Array.from({ length: 70_000 }, (_, i) => [String(i), 0])))),
      /more than 65536 values/,
    ],
    [
      'goes too deep to be written down again',
      Buffer.from(`{"x":${'['.repeat(10_000)}${']'.repeat(10_000)}}`),
      /more than 512 values inside one another/,
    ],
    ['has no layers', { ...whole, layers: [] }, /no layers/],
    ['has too many', { ...whole, layers: Array.from({ length: 513 }, () => layer) }, /513 layers/],
    [
      'has a layer that is no archive',
      { ...whole, layers: [{ ...layer, mediaType: 'application/octet-stream' }] },
      /no tar archive/,
    ],
    [
      'has a digest that leads elsewhere',
      { ...whole, layers: [{ ...layer, digest: 'sha256:../../../etc/passwd' }] },
      /where SHA-256 is known/,
    ],
    [
      'has a digest of another kind',
      { ...whole, layers: [{ ...layer, digest: `sha512:${'3'.repeat(128)}` }] },
      /where SHA-256 is known/,
    ],
    ['has a size below nothing', { ...whole, layers: [{ ...layer, size: -1 }] }, /no size/],
    ['has two sizes for one layer', { ...whole, layers: [layer, { ...layer, size: 8 }] }, /another size/],
    ['has its configuration for a layer', { ...whole, layers: [{ ...layer, digest }] }, /is its configuration/],
  ])('that %s is refused', async (_, content, why) => {
    const client = await pullManifest(content);
    await expect(client.event()).rejects.toMatchObject({
      code: 'BERTH_PULL_MANIFEST',
      what: 'app:latest is not an image that can be pulled',
      why: expect.stringMatching(why) as string,
    });
    expect(stored()).toEqual([]);
  });

  it('that is not what its digest says is refused', async () => {
    const client = await pullManifest(whole, digest);
    await expect(client.event()).rejects.toMatchObject({ code: 'BERTH_PULL_DIGEST' });
  });

  it('of more than 4 MiB is not read to its end', async () => {
    const client = await pullManifest(Buffer.alloc(5 * 1024 * 1024, ' '));
    await expect(client.event()).rejects.toMatchObject({
      code: 'BERTH_PULL_FAILED',
      why: 'the manifest could not be read: it has more than 4194304 bytes',
    });
  });
});

describe('a client', () => {
  it('has one pull at a time on a connection', async () => {
    await asked();
    puller.request({ manifest: image.manifest.digest, name: 'other' });
    await expect(puller.event()).rejects.toMatchObject({ code: 'BERTH_PROTOCOL_FRAME' });
  });

  it.each(['', 'sha256:1', 'sha256:../../x'])('that names its manifest %j is refused', async (manifest) => {
    await daemon.start();
    puller = await PullClient.open(daemon.socket, layout);
    puller.client.send({ pull: { manifest, manifestFd: puller.pipeOf(Buffer.alloc(0)) } });
    await expect(puller.event()).rejects.toMatchObject({ code: 'BERTH_PROTOCOL_FRAME' });
  });

  it('that goes away at any moment leaves nothing, and the next pull goes well', { timeout: 60_000 }, async () => {
    await daemon.start();
    for (const delay of [0, 5, 10, 20, 40, 60, 80, 120, 160, 240]) {
      const leaving = await PullClient.open(daemon.socket, layout);
      leaving.request({ manifest: image.manifest.digest, name: `app:${delay}` });
      const events = leaving.finish().catch(() => []);
      await new Promise((resolve) => setTimeout(resolve, delay));
      leaving.close();
      await events;
      await nothingUnfinished(daemon);
    }
    puller = await PullClient.open(daemon.socket, layout);
    puller.request({ manifest: image.manifest.digest, name: 'app' });
    expect(kindsOf(await puller.finish()).at(-1)).toBe('DONE');
    expect(daemon.log).not.toContain('BERTH_INTERNAL');
  });

  it('that waits with its blobs open is let go of with its converters', async () => {
    const [, small = ''] = await asked();
    puller.client.send({ pullBlob: { digest: small, fd: puller.pipeOf() } });
    const converters = (): string => execFileSync('ps', ['-o', 'args=', '--ppid', String(daemon.pid)]).toString();
    await expect.poll(converters).toContain('berth-converter');
    puller.client.socket.destroy();
    await nothingUnfinished(daemon);
  });
});

describe('the limits', () => {
  const files = (from: number, to: number): Record<string, string> =>
    Object.fromEntries(Array.from({ length: to - from }, (_, i) => [`f${from + i}`, '']));

  it.each([
    ['one layer', [files(0, 1200)]],
    ['all layers together', [files(0, 700), files(700, 1400)]],
  ])('hold for %s', async (_, layers) => {
    daemon.writeConfig('compression_level = 1\nmost_entries = 1000\n');
    image = makeImage({ layers: layers.map((content) => ({ content })) });
    writeLayout(layout, [image]);
    await asked();
    for (const { digest } of image.layers) puller.blob(digest);
    await expect(puller.finish()).rejects.toMatchObject({
      code: 'BERTH_PULL_TOO_LARGE',
      what: 'app:latest is larger than the site allows',
    });
    expect(stored()).toEqual([]);
  });

  it('of the store are told as such', async () => {
    const store = join(daemon.directory, 'store');
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=1m,mode=700', 'berth-test', store]);
    try {
      await asked();
      puller.blob(image.layers[1]?.digest ?? '');
      await expect(puller.finish()).rejects.toMatchObject({ code: 'BERTH_STORE_FULL' });
      await nothingUnfinished(daemon);
    } finally {
      await daemon.end('SIGKILL');
      execFileSync('umount', [store]);
      for (const part of ['tmp', 'leases']) mkdirSync(join(store, part));
    }
  });

  it('of who may pull are those of the site', async () => {
    daemon.writeConfig('pull = "root"\n');
    await daemon.start();
    puller = await PullClient.open(daemon.socket, layout);
    expect(pullAs(2001, daemon, layout, { manifest: image.manifest.digest })).toMatchObject({
      code: 'BERTH_NOT_PERMITTED',
      why: 'the site has set [store] pull = "root"',
    });
  });
});
