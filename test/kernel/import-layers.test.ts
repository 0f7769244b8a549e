import { execFileSync } from 'node:child_process';
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { Registry } from '../registry/registry.js';
import { TestDaemon } from './helpers/daemon.js';
import { imagePaths, Puller, unfinished, type Result } from './helpers/puller.js';

// Archives as skopeo, podman and docker write them, imported by a plain user who may pull, but not import.

let registry: Registry;
let daemon: TestDaemon;
let alice: Puller;

beforeAll(async () => {
  registry = await Registry.start();
  await registry.push('app:1', {
    format: 'docker',
    layers: [{ content: { 'etc/lower': '1', 'etc/gone': '' } }, { content: { 'etc/.wh.gone': '', 'etc/upper': '2' } }],
  });
  await registry.push('app:2', { layers: [{ content: { 'etc/other': '' }, compression: 'zstd' }] });
  await registry.pushIndex('app:3', [
    { platform: 'linux/s390x', layers: [{ content: { 'etc/foreign': '' } }] },
    { platform: process.arch === 'arm64' ? 'linux/arm64' : 'linux/amd64', layers: [{ content: { 'etc/native': '' } }] },
  ]);
});

afterAll(async () => {
  await registry.stop();
});

beforeEach(async () => {
  daemon = new TestDaemon('pull = "anyone"\nimport = "root"\n');
  alice = new Puller(daemon, 23_456);
  await daemon.start();
  return () => daemon.remove();
});

/** Puts what the registry has as `app:TAG` where skopeo's reference says, in the user's home. */
function copy(tag: string, to: string, ...options: readonly string[]): void {
  const argv = ['copy', '--quiet', '--src-tls-verify=false', ...options, `docker://${registry.host}/app:${tag}`, to];
  execFileSync('skopeo', argv, {
    cwd: alice.home,
    uid: alice.uid,
    gid: alice.uid,
    env: { ...process.env, HOME: alice.home },
  });
}

async function importPaths(source: string): Promise<string[]> {
  const { status, stdout, stderr } = await alice.berth(['import', '--json', 'app:here', source]);
  expect({ status, stderr: status === 0 ? '' : stderr }).toEqual({ status: 0, stderr: '' });
  const { image } = JSON.parse(stdout) as { image: { name: string; digest: string } };
  expect(image.name).toBe('app:here');
  return imagePaths(daemon, image.digest).filter((path) => path.startsWith('/etc/'));
}

function temporary(): string[] {
  return readdirSync('/var/tmp').filter((name) => /^(?:berth-archive-|oci\d|docker-tar)/.test(name));
}

const upper = ['/etc/lower', '/etc/upper'];

describe('berth import reads', () => {
  it.each([
    ['as it is', 'true', 'app.tar'],
    ['gzip', 'gzip', 'app.tar.gz'],
    ['xz', 'xz', 'app.tar.xz'],
    ['zstd', 'zstd -q', 'app.tar.zst'],
  ])('an archive of docker save, %s, by its content', async (_, compress, file) => {
    copy('1', 'docker-archive:app.tar:app:one');
    execFileSync('sh', ['-c', `${compress} app.tar && chmod 644 ${file}`], { cwd: alice.home });
    expect(await importPaths(file)).toEqual(upper);
  });

  it('an archive of docker save by its transport, and by the name in it', async () => {
    copy('1', 'docker-archive:app.tar:app:one');
    expect(await importPaths('docker-archive:app.tar')).toEqual(upper);
    expect(await importPaths('docker-archive:app.tar:app:one')).toEqual(upper);
  });

  it('an OCI archive, with its transport and without', async () => {
    copy('2', 'oci-archive:app.tar:two');
    expect(await importPaths('oci-archive:app.tar')).toEqual(['/etc/other']);
    expect(await importPaths('app.tar')).toEqual(['/etc/other']);
  });

  it('an OCI layout, of several images the one that is named', async () => {
    copy('1', 'oci:layout:one');
    copy('2', 'oci:layout:two');
    expect(await importPaths('oci:layout:two')).toEqual(['/etc/other']);
    const result = await alice.berth(['import', 'app:here', 'oci:layout']);
    expectRefusal(result, 'it does not hold just one image: say which, as FILE:NAME:TAG');
  });

  it('an OCI layout by its content', async () => {
    copy('2', 'oci:layout:two');
    expect(await importPaths('layout')).toEqual(['/etc/other']);
  });

  it('of an index the image for this kind of machine', async () => {
    copy('3', 'oci:several:three', '--all');
    expect(await importPaths('oci:several')).toEqual(['/etc/native']);
  });
});

function expectRefusal({ status, stdout, stderr }: Result, why: string): void {
  expect({ status, stdout }).toEqual({ status: 2, stdout: '' });
  expect(stderr).toContain('BERTH_IMPORT_SOURCE');
  expect(stderr).toContain(`why: ${why}`);
}

describe('berth import refuses', () => {
  it.each([
    ['docker-archive:none.tar', 'no such file or directory'],
    ['oci:none', 'no such file or directory'],
    ['docker-archive:text', 'it is no whole tar archive'],
    ['oci-archive:text', 'it is no whole tar archive'],
  ])('%s', async (source, why) => {
    alice.write('text', 'x'.repeat(1000));
    expectRefusal(await alice.berth(['import', 'app:here', source]), why);
  });

  it('the unpacked parts of an archive of docker save', async () => {
    copy('1', 'docker-archive:app.tar:app:one');
    execFileSync('sh', ['-c', 'mkdir parts && tar -C parts -xf app.tar && chmod 755 parts'], { cwd: alice.home });
    const result = await alice.berth(['import', 'app:here', 'parts']);
    expectRefusal(result, 'it holds the unpacked parts of an image in layers (docker save): give the archive itself');
  });
});

it('leaves nothing behind, also when it is interrupted', async () => {
  const before = temporary();
  copy('1', 'docker-archive:app.tar');
  copy('2', 'oci-archive:oci.tar:two');
  execFileSync('gzip', [join(alice.home, 'app.tar')]);
  for (const source of ['app.tar.gz', 'oci.tar']) {
    await importPaths(source);
    for (const moment of [60, 120, 180, 240]) {
      const run = alice.start(['import', 'app:again', source]);
      setTimeout(() => run.child.kill('SIGTERM'), moment);
      await run.result;
    }
  }
  await expect.poll(() => unfinished(daemon)).toEqual([]);
  expect(alice.running('skopeo')).toEqual([]);
  expect(temporary()).toEqual(before);
});
