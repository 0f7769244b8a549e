import { chmodSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import type { Image } from '../registry/image.js';
import { Link } from '../registry/link.js';
import { Middleman } from '../registry/middleman.js';
import { Registry } from '../registry/registry.js';
import { noise } from './import-tools.js';
import { TestDaemon } from './helpers/daemon.js';
import { Puller, unfinished, type Result } from './helpers/puller.js';

// What goes wrong between a registry and a user, and that nothing stays of it.

let registry: Registry;
let daemon: TestDaemon;
let alice: Puller;

beforeAll(async () => {
  registry = await Registry.start();
});

afterAll(async () => {
  await registry.stop();
});

beforeEach(async () => {
  daemon = new TestDaemon('pull = "anyone"\n');
  alice = new Puller(daemon, 23_456);
  await daemon.start();
  return () => daemon.remove();
});

/** That it failed with this error, and has left nothing. */
async function expectFailure(result: Result, status: number, code: string, ...words: readonly string[]): Promise<void> {
  expect(result.stderr).toContain(`berth: ${code}: `);
  for (const word of words) expect(result.stderr).toContain(word);
  expect(result.stderr).not.toMatch(/level=fatal|goroutine|at .*\.js/);
  expect(result).toMatchObject({ status, stdout: '' });
  await expectNothingLeft();
}

async function expectNothingLeft(): Promise<void> {
  await expect.poll(() => unfinished(daemon)).toEqual([]);
  await expect.poll(() => alice.running('skopeo')).toEqual([]);
  const { stdout } = await alice.berth(['images', '--json']);
  expect(JSON.parse(stdout)).toMatchObject({ images: [] });
}

describe('berth pull says what is wrong when', () => {
  it('the registry has no such image', async () => {
    await registry.push('known:1', { layers: [{ content: { 'etc/a': '' } }] });
    for (const name of ['known:2', 'unknown:1']) {
      const result = await alice.pull(`${registry.host}/${name}`);
      await expectFailure(result, 3, 'BERTH_PULL_UNKNOWN', `${registry.host} has no image ${registry.host}/${name}`);
    }
  });

  it('the image is not made for this kind of machine', async () => {
    await registry.push('foreign:1', { platform: 'linux/riscv64', layers: [{ content: { 'etc/a': '' } }] });
    await registry.pushIndex('foreign:2', [
      { platform: 'linux/riscv64', layers: [{ content: { 'etc/a': '' } }] },
      { platform: 'linux/mips64le', layers: [{ content: { 'etc/b': '' } }] },
    ]);
    const single = await alice.pull(`${registry.host}/foreign:1`);
    await expectFailure(single, 3, 'BERTH_PULL_PLATFORM', 'it is made for linux/riscv64 alone');
    const several = await alice.pull(`${registry.host}/foreign:2`);
    await expectFailure(several, 3, 'BERTH_PULL_PLATFORM', 'it is made for linux/riscv64, linux/mips64le');
  });

  it('nothing listens there', async () => {
    const link = await Link.open(registry.port);
    const { host } = link;
    await link.close();
    const result = await alice.pull(`${host}/app:1`);
    await expectFailure(result, 8, 'BERTH_REGISTRY_UNREACHABLE', 'nothing takes connections there');
  });

  it('the registry has no certificate, or one that this host does not know', async () => {
    const plain = await alice.berth(['pull', `${registry.host}/app:1`]);
    await expectFailure(plain, 8, 'BERTH_REGISTRY_TLS', 'it speaks plain HTTP, without a certificate');
    const secured = await Registry.start({ tls: true });
    try {
      await secured.push('app:1', { layers: [{ content: { 'etc/a': '' } }] });
      const unknown = await alice.berth(['pull', `${secured.host}/app:1`]);
      await expectFailure(unknown, 8, 'BERTH_REGISTRY_TLS', 'signed by an authority that this host does not know');
      const certificate = readFileSync(secured.certificate, 'utf8');
      alice.write(`.config/containers/certs.d/${secured.host}/ca.crt`, certificate);
      expect(await alice.berth(['pull', `${secured.host}/app:1`])).toMatchObject({ status: 0 });
    } finally {
      await secured.stop();
    }
  });

  it('a layer is not what its digest says', async () => {
    const { layers } = await registry.push('corrupt:1', { layers: [{ content: { data: noise(2_000_000) } }] });
    registry.corruptBlob(layers[0]?.digest ?? '');
    const result = await alice.pull(`${registry.host}/corrupt:1`);
    await expectFailure(result, 6, 'BERTH_PULL_DIGEST', `of ${registry.host}/corrupt:1 is not what the registry`);
    expect(registry.blobReads(layers[0]?.digest ?? '')).toBe(1);
  });

  it('a layer is missing', async () => {
    const { layers } = await registry.push('lost:1', { layers: [{ content: { 'etc/lost': 'lost' } }] });
    registry.deleteBlob(layers[0]?.digest ?? '');
    const result = await alice.pull(`${registry.host}/lost:1`);
    await expectFailure(result, 8, 'BERTH_PULL_BLOB', 'its manifest names a blob that is not there');
  });

  it("this host's policy wants a signature", async () => {
    await registry.push('unsigned:1', { layers: [{ content: { 'etc/a': '' } }] });
    const policy = (docker: unknown): string =>
      JSON.stringify({ default: [{ type: 'reject' }], transports: { docker: { [registry.host]: docker } } });
    alice.write('.config/containers/policy.json', policy([{ type: 'reject' }]));
    const result = await alice.pull(`${registry.host}/unsigned:1`);
    await expectFailure(result, 4, 'BERTH_PULL_POLICY', "this host's policy for signatures refuses all such images");
    alice.write('.config/containers/policy.json', policy([{ type: 'insecureAcceptAnything' }]));
    expect(await alice.pull(`${registry.host}/unsigned:1`)).toMatchObject({ status: 0 });
  });

  it('skopeo is missing, or too old', async () => {
    const name = `${registry.host}/app:1`;
    const missing = await alice.berth(['pull', name], { env: { PATH: alice.home } });
    await expectFailure(missing, 7, 'BERTH_PULL_TOOL', 'it is not installed, or not in your PATH');
    await registry.push('app:1', { layers: [{ content: { 'etc/a': '' } }] });
    const bin = join(daemon.directory, 'bin');
    mkdirSync(bin);
    // All that skopeo 1.4 has not is this command.
    const refusal = `time="2021-08-01T00:00:00Z" level=fatal msg="unknown command \\"experimental-image-proxy\\" for \\"skopeo\\""`;
    writeFileSync(
      join(bin, 'skopeo'),
      `#!/bin/sh\ncase "$1" in experimental-image-proxy) echo '${refusal}' >&2; exit 1;; esac\nexec /usr/bin/skopeo "$@"\n`,
    );
    chmodSync(join(bin, 'skopeo'), 0o755);
    const old = await alice.berth(['pull', '--tls-verify=false', name], { env: { PATH: `${bin}:/usr/bin:/bin` } });
    await expectFailure(old, 7, 'BERTH_PULL_TOOL', 'it is too old');
  });

  it('no berthd is there', async () => {
    await registry.push('app:2', { layers: [{ content: { 'etc/a': '' } }] });
    await daemon.end('SIGTERM');
    const result = await alice.pull(`${registry.host}/app:2`);
    expect(result).toMatchObject({ status: 5 });
    expect(result.stderr).toContain('BERTH_DAEMON_UNREACHABLE');
    expect(alice.running('skopeo')).toEqual([]);
  });

  it.each([
    [['--platform=amd64'], '--platform was given amd64'],
    [['--progress=loud'], '--progress was given loud'],
    [['--tls-verify=maybe'], '--tls-verify was given maybe'],
  ])('it is called with %j', async (options, words) => {
    const result = await alice.berth(['pull', ...options, 'app:1']);
    expect(result).toMatchObject({ status: 2, stdout: '' });
    expect(result.stderr).toContain(`BERTH_USAGE: ${words}`);
  });
});

describe('a registry that is reached, and does not answer as it should,', () => {
  let middleman: Middleman;
  let image: Image;
  beforeEach(async () => {
    image = await registry.push('spoilt:1', { layers: [{ content: { 'etc/a': 'spoilt' } }] });
    middleman = await Middleman.open(registry.port);
    return () => middleman.close();
  });

  const pull = (name = 'spoilt:1'): Promise<Result> => alice.pull(`${middleman.host}/${name}`);

  it.each([
    ['its manifest', '/manifests/', 500, '500 Internal Server Error'],
    ['its manifest', '/manifests/', 502, '502 Bad Gateway'],
    ['a manifest that a proxy does not get', '/manifests/', 504, '504 Gateway Timeout'],
    ['its greeting', /^\/v2\/$/, 503, '503 Service Unavailable'],
  ])('asked for %s is said to fail, and with what (%#)', async (_, where, status, words) => {
    const page = { status, type: 'text/html', body: '<html>sorry</html>' };
    middleman.spoil = (path) => (path.search(where) >= 0 ? page : undefined);
    const result = await pull();
    await expectFailure(
      result,
      8,
      'BERTH_REGISTRY_FAILED',
      `the registry ${middleman.host} answers with an error of its own`,
    );
    expect(result.stderr).toContain(`why: it answered ${words}\n`);
  });

  it('asked for a layer, is asked again', async () => {
    let refusals = 1;
    middleman.spoil = (path) => {
      const isLayer = path.endsWith(image.layers[0]?.digest ?? '') && refusals-- > 0;
      return isLayer ? { status: 500, type: 'text/plain', body: 'sorry' } : undefined;
    };
    const result = await pull();
    expect(result).toMatchObject({ status: 0 });
    expect(result.stderr).toMatch(/is fetched again in 1 s: it answered 500 Internal Server Error\n/);
  });

  it('sends a page in the place of a manifest, or half of one: that is no image', async () => {
    for (const spoilt of ['<html>log in</html>', undefined, '']) {
      middleman.spoil = (path, body) =>
        path.includes('/manifests/') ? { body: spoilt ?? body.subarray(0, body.length / 2) } : undefined;
      await expectFailure(
        await pull(),
        6,
        'BERTH_PULL_MANIFEST',
        'its manifest is no JSON: it came damaged, or something else came in its place',
      );
    }
  });

  it('sends another manifest than the one that its digest says', async () => {
    middleman.spoil = (path, body) =>
      path.includes('/manifests/sha256:') ? { body: `${body.toString()} ` } : undefined;
    const result = await pull(`spoilt@${image.manifest.digest}`);
    await expectFailure(result, 6, 'BERTH_PULL_DIGEST', 'of ', 'is not what the registry announced');
  });

  it('sends a configuration that is another', async () => {
    middleman.spoil = (path, body) =>
      path.endsWith(image.config.digest) ? { body: body.toString().replace('linux', 'linus') } : undefined;
    await expectFailure(await pull(), 6, 'BERTH_PULL_DIGEST', 'is not what the registry announced');
  });
});

describe('a registry that dies half way', () => {
  const size = 6_000_000;
  let image: Image;
  let link: Link;

  beforeEach(async () => {
    image = await registry.push('half:1', {
      layers: [{ content: { data: noise(size) } }, { content: { 'etc/small': 'half' } }],
    });
    link = await Link.open(registry.port);
    registry.forgetAccesses();
    return () => link.close();
  });

  const large = (): string => image.layers[0]?.digest ?? '';
  const small = (): string => image.layers[1]?.digest ?? '';

  it('is asked again, and what is stored of the image is not', async () => {
    link.cutAfter = size / 2;
    const result = await alice.pull(`${link.host}/half:1`);
    expect(result).toMatchObject({ status: 0 });
    expect(result.stderr).toMatch(/: [0-9a-f]{12} is fetched again in 1 s: it broke the connection off\n/);
    expect(link.cuts).toBe(1);
    expect([registry.blobReads(large()), registry.blobReads(small())]).toEqual([2, 1]);
  });

  it('is asked again by a new skopeo when one was killed, as by a kernel that is short of memory', async () => {
    link.rate = 3_000_000;
    const run = alice.start(['pull', '--tls-verify=false', `${link.host}/half:1`]);
    await expect.poll(() => link.received).toBeGreaterThan(size / 10);
    for (const pid of alice.running('skopeo')) process.kill(pid, 'SIGKILL');
    const result = await run.result;
    expect(result).toMatchObject({ status: 0 });
    expect(result.stderr).toMatch(/ is fetched again in 1 s: skopeo was killed: is this host short of memory\?\n/);
  });

  it('for good is given up, and the next pull goes on where this one ended', async () => {
    link.rate = 2_000_000;
    const run = alice.start(['pull', '--tls-verify=false', '--progress=json', `${link.host}/half:1`]);
    await expect.poll(run.said).toContain('"event":"progress"');
    await link.close();
    const result = await run.result;
    expect(result).toMatchObject({ status: 8 });
    expect(result.stderr).toContain('BERTH_REGISTRY_UNREACHABLE');
    expect(result.stdout.match(/"event":"retry"/g)).toHaveLength(3);
    await expectNothingLeft();
    link = await Link.open(registry.port);
    expect(await alice.pull(`${link.host}/half:1`)).toMatchObject({ status: 0 });
  }, 60_000);

  it.each([
    ['SIGINT', 130],
    ['SIGTERM', 143],
  ] as const)('and a user who gives up with %s, leave nothing', async (signal, status) => {
    link.rate = 1_000_000;
    const run = alice.start(['pull', '--tls-verify=false', '--progress=json', `${link.host}/half:1`]);
    await expect.poll(run.said).toContain('"event":"progress"');
    run.child.kill(signal);
    const result = await run.result;
    expect(result).toMatchObject({ status, stderr: 'berth: interrupted; what was not finished is undone\n' });
    expect(alice.running('skopeo')).toEqual([]);
    await expectNothingLeft();
  });

  it('and a command that is killed, leave nothing', async () => {
    link.rate = 1_000_000;
    const run = alice.start(['pull', '--tls-verify=false', '--progress=json', `${link.host}/half:1`]);
    await expect.poll(run.said).toContain('"event":"progress"');
    run.child.kill('SIGKILL');
    await run.result;
    await expectNothingLeft();
  });

  it('is interrupted at any moment', async () => {
    for (const moment of [20, 60, 100, 140, 200, 260]) {
      const run = alice.start(['pull', '--tls-verify=false', `${link.host}/half:1`]);
      await sleep(moment);
      run.child.kill('SIGTERM');
      await run.result;
      await expect.poll(() => alice.running('skopeo')).toEqual([]);
      await expect.poll(() => unfinished(daemon)).toEqual([]);
    }
    expect(await alice.pull(`${link.host}/half:1`)).toMatchObject({ status: 0 });
  });
});
