import { mkdirSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { makeImage, type Image } from '../registry/image.js';
import { TestClient, TestDaemon } from './helpers/daemon.js';
import { writeLayout } from './helpers/layouts.js';
import { PullClient } from './helpers/pull-client.js';

let daemon: TestDaemon;
let client: TestClient;
let image: Image;

beforeEach(async () => {
  daemon = new TestDaemon('compression_level = 1\n');
  const layout = join(daemon.directory, 'layout');
  mkdirSync(layout);
  image = makeImage({ layers: [{ content: { 'etc/a': '' } }] });
  writeLayout(layout, [image]);
  await daemon.start();
  for (const uid of [0, 2001]) {
    await PullClient.pull(daemon.socket, layout, { manifest: image.manifest.digest, name: `of-${uid}:1`, uid });
  }
  client = await TestClient.open(daemon.socket);
});

afterEach(async () => {
  client.socket.destroy();
  await daemon.remove();
});

describe('what a reference means', () => {
  it('is told with what will go on meaning it', async () => {
    const reply = await client.ask({ resolve: { reference: 'docker://of-0:1' } });
    expect(reply?.resolve).toMatchObject({
      pinned: `of-0:1@${image.manifest.digest}`,
      image: { name: 'of-0:1', owner: 'site', manifest: image.manifest.digest, platform: 'linux/amd64' },
    });
    const pinned = await client.ask({ resolve: { reference: reply?.resolve?.pinned ?? '' } });
    expect(pinned?.resolve?.pinned).toBe(reply?.resolve?.pinned);
  });

  it('is, for root, what it means for the user who is named', async () => {
    expect((await client.ask({ resolve: { reference: 'of-2001:1' } }))?.error?.code).toBe('BERTH_IMAGE_UNKNOWN');
    const reply = await client.ask({ resolve: { reference: 'of-2001:1', uid: 2001 } });
    expect(reply?.resolve?.image?.owner).toBe('uid 2001');
    const other = await client.ask({ resolve: { reference: 'of-2001:1', uid: 2002 } });
    expect(other?.error?.code).toBe('BERTH_IMAGE_UNKNOWN');
  });

  it('is promised to the job that will need it, where that is asked for', async () => {
    const { digest = '' } = (await client.ask({ resolve: { reference: 'of-0:1' } }))?.resolve?.image ?? {};
    const promises = join(daemon.directory, 'store/promises');
    const promised = (): string[] => readdirSync(promises, { recursive: true, encoding: 'utf8' });
    expect(promised().filter((path) => path.includes('uid-'))).toEqual([]);
    await client.ask({ resolve: { reference: 'of-0:1', promise: true, uid: 2002 } });
    expect(promised()).toContain(`${(digest ?? '').slice('sha256:'.length)}/uid-2002`);
  });
});
