// What the event stream tells of pulls, and to whom.
import { spawnSync } from 'node:child_process';
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { makeImage, type Image } from '../registry/image.js';
import { TestDaemon } from './helpers/daemon.js';
import { writeLayout } from './helpers/layouts.js';
import { PullClient } from './helpers/pull-client.js';
import { projectRoot, Running } from './helpers/programs.js';
import { get, TestReader, type Told } from './helpers/web.js';
import { nothingUnfinished } from './pull-tools.js';

const cli = join(projectRoot, 'build', 'lib', 'cli.js');
const loader = join(projectRoot, 'node_modules', 'tsx', 'dist', 'loader.mjs');
const NOBODY = 65_534;
/** Another of every system's accounts. */
const OTHER = 1;
const UNKNOWN = 54_321;

let daemon: TestDaemon;
let layout: string;
let image: Image;

beforeEach(async () => {
  daemon = new TestDaemon('compression_level = 1\n');
  layout = join(daemon.directory, 'layout');
  mkdirSync(layout, { mode: 0o755 });
  image = makeImage({ layers: [{ content: { 'etc/os-release': 'ID=test\n' } }] });
  writeLayout(layout, [image]);
  await daemon.start();
});

afterEach(async () => {
  await nothingUnfinished(daemon);
  await daemon.remove();
});

const place = () => ({ socketPath: daemon.socket });

/** Sends something else than the first blob that is wanted: nothing that a registry should do. */
async function failPull(uid: number, name: string): Promise<void> {
  const puller = await PullClient.open(daemon.socket, layout);
  puller.request({ manifest: image.manifest.digest, name, uid });
  await puller.event();
  puller.blob(image.config.digest, Buffer.from('x'.repeat(image.config.bytes.length)));
  puller.end(image.config.digest);
  await expect(puller.finish()).rejects.toMatchObject({ code: 'BERTH_PULL_DIGEST' });
  puller.close();
}

describe('the event stream', () => {
  it('tells of a pull from its beginning to its end, with whose it is', async () => {
    const reader = await TestReader.open(place());
    const { manifest } = image;
    await PullClient.pull(daemon.socket, layout, { manifest: manifest.digest, name: 'app:1', uid: NOBODY });
    await expect.poll(() => reader.of('pull').map(({ what }) => what)).toEqual(['begun', 'done']);
    reader.close();
    for (const told of reader.of('pull')) expect(told).toMatchObject({ uid: NOBODY, user: 'nobody', image: 'app:1' });
    expect(reader.of('pull')[1]).toMatchObject({ digest: expect.stringMatching(/^sha256:/) as string });
  });

  it('tells of a failed pull by the code of its error, with whose it is, what failed and why', async () => {
    const reader = await TestReader.open(place());
    await failPull(NOBODY, 'app:1');
    await expect.poll(() => reader.of('pull').map(({ what }) => what)).toEqual(['begun', 'failed']);
    reader.close();
    expect(reader.of('pull')[1]).toMatchObject({
      uid: NOBODY,
      user: 'nobody',
      error: 'BERTH_PULL_DIGEST',
      text: expect.stringMatching(/app:1 is not what the registry announced: sha256:/) as string,
    });
    const env = { PATH: '/usr/bin:/bin', BERTH_SOCKET: daemon.socket };
    const { stdout } = spawnSync(process.execPath, [cli, 'events'], { encoding: 'utf8', env });
    expect(stdout).toMatch(/ pull +nobody, app:1: failed.*: BERTH_PULL_DIGEST: .*not what the registry announced: /);
  });

  it("tells of a user's pulls up to 60 a minute, so that others' are not forgotten for them; metrics count all", async () => {
    const reader = await TestReader.open(place());
    for (let i = 0; i < 70; i++) await failPull(NOBODY, `app:${i}`);
    await failPull(OTHER, 'other:1');
    await expect.poll(() => reader.of('pull').at(-1)).toMatchObject({ uid: OTHER, what: 'failed' });
    reader.close();
    const begun = reader.of('pull').filter(({ what }) => what === 'begun');
    expect(begun.filter(({ uid }) => uid === NOBODY)).toHaveLength(60);
    const { body } = await get(place(), '/metrics');
    expect(body).toContain('berth_pulls_total{outcome="BERTH_PULL_DIGEST"} 71\n');
  });

  it('tells of a pull whose client went away', async () => {
    const reader = await TestReader.open(place());
    const puller = await PullClient.open(daemon.socket, layout);
    puller.request({ manifest: image.manifest.digest, name: 'app:1', uid: NOBODY });
    await puller.event();
    puller.close();
    await expect
      .poll(() => reader.of('pull').at(-1))
      .toMatchObject({
        what: 'failed',
        error: 'BERTH_PULL_FAILED',
        text: 'pulling app:1 failed: the client went away',
      });
    reader.close();
  });

  it('tells of the failed pull of a user whom nobody knows, by number', async () => {
    const reader = await TestReader.open(place());
    await failPull(UNKNOWN, 'app:1');
    await expect.poll(() => reader.of('pull').at(-1)).toMatchObject({ what: 'failed', uid: UNKNOWN });
    reader.close();
    for (const told of reader.of('pull')) expect(told).not.toHaveProperty('user');
  });

  it('shows a plain user their own failed pulls in full, and of others their number', async () => {
    const script = join(import.meta.dirname, 'helpers', 'read-as.ts');
    const user = ['--reuid=65534', '--regid=65534', '--clear-groups', 'env', 'TSX_DISABLE_CACHE=1', 'HOME=/'];
    const argv = [...user, process.execPath, '--import', loader, script, daemon.socket, 'now'];
    const reader = await Running.start('setpriv', ...argv);
    const told: Told[] = [JSON.parse(await reader.line()) as Told];
    await failPull(OTHER, 'private/of-another:1');
    await failPull(NOBODY, 'app:1');
    while (!told.some(({ what }) => what === 'failed')) told.push(JSON.parse(await reader.line()) as Told);
    await reader.stop();
    const full = told.filter(({ type }) => type !== 'others' && type !== 'hello');
    expect(full.map(({ type, what }) => `${type} ${String(what)}`)).toEqual(['pull begun', 'pull failed']);
    const counts = told.filter(({ type }) => type === 'others').map((others) => others['counts'] as { pull: number });
    expect(counts.reduce((sum, { pull }) => sum + pull, 0)).toBe(2);
    expect(full[1]).toMatchObject({ user: 'nobody', error: 'BERTH_PULL_DIGEST' });
    expect(JSON.stringify(told)).not.toMatch(/of-another|daemon/);
  });
});
