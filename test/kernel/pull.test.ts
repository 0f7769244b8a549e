import { execFileSync } from 'node:child_process';
import { mkdirSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { makeImage, makeIndex, type Image } from '../registry/image.js';
import { v1 } from '../../src/protocol/index.js';
import { TestDaemon } from './helpers/daemon.js';
import { taggedManifest, writeLayout } from './helpers/layouts.js';
import { kindsOf, PullClient, wantedOf } from './helpers/pull-client.js';
import { pullAs, nothingUnfinished } from './pull-tools.js';

const { Kind } = v1.PullEvent;

// A real berthd, its confined converter, and a client that speaks the protocol.

let daemon: TestDaemon;
let layout: string;

beforeEach(async () => {
  daemon = new TestDaemon('compression_level = 1\n');
  layout = join(daemon.directory, 'layout');
  mkdirSync(layout, { mode: 0o755 });
  await daemon.start();
});

afterEach(async () => {
  await nothingUnfinished(daemon);
  await daemon.remove();
});

const base = { content: { 'etc/os-release': 'ID=test\n', 'bin/tool': '#!/bin/sh\n' } };
const top = { content: { 'opt/app/data': 'of the application\n' }, compression: 'zstd' } as const;

function given(...images: Image[]): string {
  return writeLayout(layout, images);
}

function digests({ manifest, config, layers }: Image): string[] {
  return [manifest.digest, config.digest, ...layers.map(({ digest }) => digest)];
}

function filesOf(digest: string): string[] {
  const file = join(daemon.directory, 'store/images/sha256', `${digest.slice('sha256:'.length)}.squashfs`);
  const lines = execFileSync('unsquashfs', ['-ls', '-d', '', file]).toString().trim().split('\n');
  return lines.filter((line) => line.startsWith('/'));
}

describe('a pull', () => {
  it('makes one image of the layers, which its manifest, its file and its name find', async () => {
    const image = makeImage({ layers: [base, top], config: { Env: ['A=1'] } });
    const events = await PullClient.pull(daemon.socket, given(image), {
      manifest: image.manifest.digest,
      name: 'app:1',
    });
    expect(kindsOf(events)).toEqual(['WANTED', 'STORED', 'STORED', 'STORED', 'CONVERTING', 'DONE']);
    expect(wantedOf(events)).toEqual([image.config.digest, ...image.layers.map(({ digest }) => digest)]);
    const { image: record, pinned } = events.at(-1) ?? {};
    expect(record).toMatchObject({
      name: 'app:1',
      owner: 'site',
      source: 'docker://a.test/of/pulls',
      manifest: image.manifest.digest,
      platform: 'linux/amd64',
      access: { everyone: true },
    });
    expect(pinned).toBe(`app:1@${image.manifest.digest}`);
    const digest = record?.digest ?? '';
    expect(filesOf(digest)).toEqual(expect.arrayContaining(['/bin/tool', '/etc/os-release', '/opt/app/data']));
    const known = JSON.parse(readFileSync(join(daemon.directory, 'store/refs/site/app:1.json'), 'utf8')) as object;
    expect(known).toMatchObject({
      layers: image.layers.map((layer) => layer.digest),
      config: { config: { Env: ['A=1'] } },
    });
    expect(readdirSync(join(daemon.directory, 'store/refs/site')).sort()).toEqual(
      ['app:1.json', `${digest}.json`, `${image.manifest.digest}.json`].sort(),
    );
  });

  it('of what the same user has pulled is done at once', async () => {
    const image = makeImage({ layers: [base] });
    const options = { manifest: image.manifest.digest, name: 'app' };
    await PullClient.pull(daemon.socket, given(image), options);
    expect(kindsOf(await PullClient.pull(daemon.socket, layout, options))).toEqual(['DONE']);
    const again = await PullClient.pull(daemon.socket, layout, { ...options, name: 'other:2' });
    expect(kindsOf(again)).toEqual(['DONE']);
    expect(again[0]?.pinned).toBe(`other:2@${image.manifest.digest}`);
  });

  it('asks only for the layers that no earlier one has brought', async () => {
    const old = makeImage({ layers: [base, { content: { version: '1' } }] });
    const renewed = makeImage({ layers: [base, { content: { version: '2' } }], format: 'docker' });
    given(old, renewed);
    await PullClient.pull(daemon.socket, layout, { manifest: old.manifest.digest, name: 'app' });
    const events = await PullClient.pull(daemon.socket, layout, { manifest: renewed.manifest.digest, name: 'app' });
    expect(wantedOf(events)).toEqual([renewed.config.digest, renewed.layers[1]?.digest]);
  });

  it('takes a layer that comes twice, and none at all where everything is known', async () => {
    const empty = { content: {} };
    const image = makeImage({ layers: [empty, base, empty] });
    const events = await PullClient.pull(daemon.socket, given(image), { manifest: image.manifest.digest });
    expect(wantedOf(events)).toHaveLength(3);
    const record = events.at(-1)?.image;
    expect(record?.name).toBe(image.manifest.digest);
    expect(events.at(-1)?.pinned).toBe(image.manifest.digest);
    // As after a collection of images that left the layers.
    execFileSync('find', [join(daemon.directory, 'store/images'), '-name', '*.squashfs', '-delete']);
    const again = await PullClient.pull(daemon.socket, layout, { manifest: image.manifest.digest });
    expect(kindsOf(again)).toEqual(['CONVERTING', 'DONE']);
    expect(again.at(-1)?.image?.digest).toBe(record?.digest);
  });

  it('is found by the index that has it, and only by one that has', async () => {
    const image = makeImage({ layers: [base] });
    const index = makeIndex([makeImage({ layers: [top], platform: 'linux/arm64' }), image]);
    const wrong = makeIndex([makeImage({ layers: [top] })]);
    writeLayout(layout, [image], [index, wrong]);
    const options = { manifest: image.manifest.digest, name: 'app' };
    await expect(PullClient.pull(daemon.socket, layout, { ...options, index: wrong.digest })).rejects.toMatchObject({
      code: 'BERTH_PULL_MANIFEST',
      why: 'its index does not have its manifest',
    });
    await PullClient.pull(daemon.socket, layout, { ...options, index: index.digest });
    expect(readdirSync(join(daemon.directory, 'store/refs/site'))).toContain(`${index.digest}.json`);
  });

  it('takes what umoci and skopeo make', async () => {
    const made = join(daemon.directory, 'umoci');
    const bundle = join(daemon.directory, 'bundle');
    const umoci = (...argv: string[]): Buffer => execFileSync('umoci', argv, { stdio: ['ignore', 'pipe', 'ignore'] });
    umoci('init', '--layout', made);
    umoci('new', '--image', `${made}:base`);
    umoci('unpack', '--image', `${made}:base`, bundle);
    execFileSync('sh', [
      '-c',
      'mkdir -p "$1/etc" && echo ID=umoci > "$1/etc/os-release"',
      'sh',
      join(bundle, 'rootfs'),
    ]);
    umoci('repack', '--image', `${made}:app`, bundle);
    const copied = join(daemon.directory, 'copied');
    const policy = join(daemon.directory, 'policy.json');
    execFileSync('sh', ['-c', 'echo \'{"default":[{"type":"insecureAcceptAnything"}]}\' > "$1"', 'sh', policy]);
    execFileSync('skopeo', ['--policy', policy, 'copy', '--quiet', `oci:${made}:app`, `oci:${copied}:app`]);
    for (const source of [made, copied]) {
      const events = await PullClient.pull(daemon.socket, source, {
        manifest: taggedManifest(source, 'app'),
        name: 'app',
      });
      expect(filesOf(events.at(-1)?.image?.digest ?? '')).toContain('/etc/os-release');
    }
  });
});

describe('what a user pulls', () => {
  it('has its name for that user alone; whoever else wants it shows that they may have it, and need not twice', () => {
    const image = makeImage({ layers: [base, top] });
    given(image);
    const [manifest = '', ...blobs] = digests(image);
    expect(pullAs(2001, daemon, layout, { manifest, name: 'app' })).toMatchObject({ wanted: blobs });
    expect(pullAs(2002, daemon, layout, { manifest, name: 'app' })).toMatchObject({
      wanted: blobs,
      image: { owner: 'uid 2002', access: { uids: [], gids: [] } },
    });
    expect(pullAs(2002, daemon, layout, { manifest, name: 'app' }).kinds).toEqual(['DONE']);
    const scopes = readdirSync(join(daemon.directory, 'store/refs'));
    expect(scopes.sort()).toEqual(['site', 'uid-2001', 'uid-2002']);
    expect(
      readdirSync(join(daemon.directory, 'store/images/sha256')).filter((one) => one.endsWith('.squashfs')),
    ).toHaveLength(1);
  });

  it('is asked of nobody again when it was read without credentials', () => {
    const image = makeImage({ layers: [base, top] });
    given(image);
    const { digest: manifest } = image.manifest;
    pullAs(2001, daemon, layout, { manifest, name: 'app', everyone: true });
    expect(pullAs(2002, daemon, layout, { manifest, name: 'app' }).kinds).toEqual(['DONE']);
    const other = makeImage({ layers: [base, { content: { more: '' } }] });
    given(other);
    expect(pullAs(2002, daemon, layout, { manifest: other.manifest.digest }).wanted).toEqual([
      other.config.digest,
      other.layers[1]?.digest,
    ]);
  });

  it("cannot be had by a manifest of one's own that has its layers", async () => {
    const secret = makeImage({ layers: [base] });
    const thief = makeImage({ layers: [base], config: { Labels: { of: 'the thief' } } });
    given(secret, thief);
    pullAs(2001, daemon, layout, { manifest: secret.manifest.digest });
    const puller = await PullClient.open(daemon.socket, layout);
    puller.request({ manifest: thief.manifest.digest, uid: 2002 });
    const wanted = wantedOf(await puller.until(Kind.KIND_WANTED));
    const layer = thief.layers[0]?.digest ?? '';
    expect(wanted).toEqual([thief.config.digest, layer]);
    puller.blob(layer, Buffer.from('a guess'));
    puller.end(layer);
    await expect(puller.finish()).rejects.toMatchObject({ code: 'BERTH_PULL_DIGEST' });
    puller.close();
    expect(readdirSync(join(daemon.directory, 'store/refs'))).not.toContain('uid-2002');
  });

  it('goes by the name that root gives it, for the user whom root names', async () => {
    const image = makeImage({ layers: [base] });
    const { digest: manifest } = image.manifest;
    const events = await PullClient.pull(daemon.socket, given(image), { manifest, name: 'app', uid: 2001 });
    expect(events.at(-1)?.image?.owner).toBe('uid 2001');
    expect(pullAs(2001, daemon, layout, { manifest, name: 'app' }).kinds).toEqual(['DONE']);
    expect(pullAs(2002, daemon, layout, { manifest, uid: 2001 })).toMatchObject({ code: 'BERTH_NOT_PERMITTED' });
  });
});
