// What users do with images that are there: the real command line, as a process of a plain user, and the real berthd.
import { execFileSync, spawn, spawnSync, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import {
  chmodSync,
  chownSync,
  existsSync,
  mkdirSync,
  openSync,
  closeSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  truncateSync,
  utimesSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Layout } from '../../src/image/layout.js';
import { TestDaemon } from './helpers/daemon.js';
import { directory, file, link, makeArchive } from './helpers/images.js';
import { makeScratch, removeScratch } from './helpers/scratch.js';

const ALICE = 23_456;
const BOB = 23_457;
const cli = join(import.meta.dirname, '..', '..', 'build', 'lib', 'cli.js');

let daemon: TestDaemon;
let layout: Layout;
let scratch: string;
/** A directory of alice's own, where she runs her commands. */
let home: string;

beforeAll(async () => {
  scratch = makeScratch();
  home = join(scratch, 'home');
  mkdirSync(home, { mode: 0o700 });
  chownSync(home, ALICE, ALICE);
  daemon = new TestDaemon('import = "anyone"\ncompression_level = 1\n');
  layout = new Layout(join(daemon.directory, 'store'));
  await daemon.start();
});

afterAll(async () => {
  await daemon.remove();
  removeScratch(scratch);
});

interface Result {
  readonly status: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** Becomes the user, keeping nothing of root's. */
function as(uid: number, command: readonly string[]): string[] {
  return ['setpriv', `--reuid=${uid}`, `--regid=${uid}`, '--clear-groups', '--inh-caps=-all', ...command];
}

function berth(uid: number, ...args: string[]): Result {
  const [program = '', ...argv] = as(uid, [process.execPath, cli, ...args]);
  const env = { PATH: process.env['PATH'], HOME: home, BERTH_SOCKET: daemon.socket };
  const { status, stdout, stderr } = spawnSync(program, argv, {
    cwd: uid === ALICE ? home : '/',
    env,
    encoding: 'utf8',
    timeout: 60_000,
  });
  return { status, stdout, stderr };
}

function must(uid: number, ...args: string[]): string {
  const { status, stdout, stderr } = berth(uid, ...args);
  expect({ status, stderr }).toMatchObject({ status: 0 });
  return stdout;
}

interface Listed {
  readonly name: string;
  readonly digest: string;
}

const list = (uid: number): Listed[] => (JSON.parse(must(uid, 'images', '--json')) as { images: Listed[] }).images;
const digestOf = (uid: number, name: string): string => list(uid).find((image) => image.name === name)?.digest ?? '';

/** An image of alice's that has a bit of everything. */
function importSample(name: string, content = 'hello\n'): string {
  const archive = makeArchive(scratch, {
    'etc/greeting': file(content),
    'usr/bin/tool': (path) => {
      writeFileSync(path, '#!/bin/sh\n');
      chmodSync(path, 0o4755);
      execFileSync('setfattr', ['-n', 'user.note', '-v', 'kept', path]);
    },
    'usr/bin/link': link('../../etc/greeting'),
    'var/of-daemon': directory({ uid: 1, gid: 1, mode: 0o2750 }),
    'var/of-daemon/file': file('x', { uid: 1, gid: 1, mode: 0o600, size: 100_000 }),
    'etc/hardlink': (path) => {
      execFileSync('ln', [join(path, '../greeting'), path]);
    },
  });
  must(ALICE, 'import', name, archive);
  rmSync(archive);
  return digestOf(ALICE, name);
}

/** Files, modes, owners, links and attributes of a squashfs file. */
function describeImage(path: string): string[] {
  const tar = execFileSync('sqfs2tar', ['--root-becomes', '.', path], { maxBuffer: 2 ** 27 });
  const listed = execFileSync('tar', ['--xattrs', '--numeric-owner', '--full-time', '-tvvf', '-'], { input: tar });
  return listed
    .toString()
    .split('\n')
    .filter((line) => line !== '')
    .sort();
}

describe('berth export', () => {
  beforeAll(() => {
    importSample('sample:1');
  });

  it('writes a squashfs file that is the image, and that berth imports as the same', () => {
    must(ALICE, 'export', 'sample:1', 'sample.sqsh');
    const path = join(home, 'sample.sqsh');
    const digest = digestOf(ALICE, 'sample:1');
    expect(`sha256:${execFileSync('sha256sum', [path]).toString().slice(0, 64)}`).toBe(digest);
    expect(statSync(path).uid).toBe(ALICE);
    must(ALICE, 'import', 'again:1', 'sample.sqsh');
    const again = layout.image(digestOf(ALICE, 'again:1'));
    expect(describeImage(again)).toEqual(describeImage(path));
  });

  it('writes it to standard output, where that is no terminal', () => {
    const command = `${process.execPath} ${cli} export sample:1`;
    const env = { PATH: process.env['PATH'], HOME: home, BERTH_SOCKET: daemon.socket };
    const shell = (script: string): Result => {
      const [program = '', ...argv] = as(ALICE, ['sh', '-c', script]);
      return { ...spawnSync(program, argv, { cwd: home, env, encoding: 'utf8' }) };
    };
    const { status, stdout, stderr } = shell(`${command} - | sha256sum`);
    expect({ status, stderr }).toEqual({ status: 0, stderr: 'exported sample:1 to standard output\n' });
    expect(`sha256:${stdout.slice(0, 64)}`).toBe(digestOf(ALICE, 'sample:1'));
    // script(1) gives it a terminal.
    const shown = shell(`script --quiet --return --command '${command} -' /dev/null`);
    expect(shown.status).toBe(2);
    expect(shown.stdout).toMatch(/BERTH_USAGE[^]*standard output is a terminal/);
    expect(berth(ALICE, 'export', '--json', 'sample:1', '-').stderr).toContain('BERTH_USAGE');
    expect(existsSync(join(home, '-'))).toBe(false);
  });

  it.each([
    ['gzip', 'tar+gzip'],
    ['zstd', 'tar+zstd'],
    ['none', 'tar'],
  ])(
    'adds the image to an OCI layout, its layer compressed with %s, with digests that are right',
    (compression, type) => {
      must(ALICE, 'export', '--compression', compression, 'sample:1', `oci:layout-${compression}:v1`);
      const at = join(home, `layout-${compression}`);
      const blob = (digest: string): Buffer => readFileSync(join(at, 'blobs', digest.replace(':', '/')));
      interface Manifest {
        readonly config: { readonly digest: string };
        readonly layers: readonly { readonly digest: string; readonly size: number; readonly mediaType: string }[];
      }
      const raw = execFileSync('skopeo', ['inspect', '--raw', `oci:${at}:v1`]).toString();
      const { config, layers } = JSON.parse(raw) as Manifest;
      const [layer = { digest: '', size: 0, mediaType: '' }] = layers;
      expect(layers).toHaveLength(1);
      expect(layer.mediaType).toBe(`application/vnd.oci.image.layer.v1.${type}`);
      expect(blob(layer.digest).length).toBe(layer.size);
      for (const digest of [layer.digest, config.digest]) {
        const sum = execFileSync('sha256sum', { input: blob(digest) })
          .toString()
          .slice(0, 64);
        expect(`sha256:${sum}`).toBe(digest);
      }
      const { rootfs } = JSON.parse(blob(config.digest).toString()) as { rootfs: { diff_ids: string[] } };
      const program = { gzip: 'gzip -dc', zstd: 'zstd -dc', none: 'cat' }[compression] ?? '';
      const tar = execFileSync('sh', ['-c', program], { input: blob(layer.digest), maxBuffer: 2 ** 27 });
      expect(rootfs.diff_ids).toEqual([`sha256:${execFileSync('sha256sum', { input: tar }).toString().slice(0, 64)}`]);
    },
  );

  it('in a form that umoci unpacks to the same files', () => {
    must(ALICE, 'export', 'sample:1', 'oci:unpacked:v1');
    const bundle = join(scratch, 'bundle');
    execFileSync('umoci', ['unpack', '--image', `${join(home, 'unpacked')}:v1`, bundle]);
    const image = join(scratch, 'bundle.sqsh');
    const quiet = ['-noappend', '-no-progress', '-quiet', '-processors', '1'];
    execFileSync('mksquashfs', [join(bundle, 'rootfs'), image, ...quiet]);
    expect(describeImage(image)).toEqual(describeImage(layout.image(digestOf(ALICE, 'sample:1'))));
  });

  it.each(['oci:round-layout:v1', 'oci-archive:round.tar:v1'])(
    'as %s, which berth imports with the same files',
    (place) => {
      must(ALICE, 'export', 'sample:1', place);
      must(ALICE, 'import', 'round:1', place);
      const paths = ['sample:1', 'round:1'].map((name) => layout.image(digestOf(ALICE, name)));
      const [before = [], after] = paths.map(describeImage);
      expect(before.length).toBeGreaterThan(5);
      expect(after).toEqual(before);
    },
  );

  it('adds to a layout that has images already, and gives a tag that is taken to the new one', () => {
    importSample('sample:2', 'another\n');
    for (const [name, tag] of [
      ['sample:1', 'a'],
      ['sample:2', 'b'],
      ['sample:2', 'a'],
    ])
      must(ALICE, 'export', name ?? '', `oci:several:${tag ?? ''}`);
    const digest = (tag: string): string =>
      execFileSync('skopeo', ['inspect', '--format={{.Digest}}', `oci:${join(home, 'several')}:${tag}`]).toString();
    expect(digest('a')).toBe(digest('b'));
    const { manifests } = JSON.parse(readFileSync(join(home, 'several/index.json'), 'utf8')) as { manifests: object[] };
    expect(manifests).toHaveLength(2);
  });

  it('writes an archive that skopeo reads, with the tag the image has here', () => {
    must(ALICE, 'export', 'sample:1', 'oci-archive:sample.tar');
    const archive = `oci-archive:${join(home, 'sample.tar')}:1`;
    expect(execFileSync('skopeo', ['inspect', '--format={{.Os}}', archive]).toString()).toBe('linux\n');
  });

  it.each(['docker-archive:app.tar', 'dir:app', 'docker://registry.site.org/app'])(
    'is told that %s is no file',
    (to) => {
      expect(berth(ALICE, 'export', 'sample:1', to)).toMatchObject({
        status: 2,
        stderr: expect.stringContaining(
          'why: it writes a squashfs file, oci-archive:FILE or oci:DIRECTORY; skopeo copy makes',
        ) as string,
      });
      expect(readdirSync(home).filter((name) => name.includes(':'))).toEqual([]);
    },
  );

  it('replaces no file unless it is told to, and leaves nothing unfinished', () => {
    writeFileSync(join(home, 'precious'), 'precious');
    expect(berth(ALICE, 'export', 'sample:1', 'precious')).toMatchObject({
      status: 6,
      stderr: expect.stringMatching(/it exists already; --force replaces it/) as string,
    });
    expect(readFileSync(join(home, 'precious'), 'utf8')).toBe('precious');
    must(ALICE, 'export', '--force', 'sample:1', 'precious');
    expect(readFileSync(join(home, 'precious')).subarray(0, 4).toString()).toBe('hsqs');
    expect(readdirSync(home).filter((name) => name.startsWith('.precious'))).toEqual([]);
  });

  it("writes with the user's rights only", () => {
    const closed = join(scratch, 'closed');
    mkdirSync(closed, { mode: 0o700 });
    const { status, stderr } = berth(ALICE, 'export', 'sample:1', join(closed, 'x.sqsh'));
    expect(status).toBe(6);
    expect(stderr).toMatch(/BERTH_EXPORT_FAILED.*\n.*permission denied/);
    expect(readdirSync(closed)).toEqual([]);
  });
});

describe('berth verify', () => {
  it('finds a single changed byte, says which image, and that the others are sound', () => {
    const digest = importSample('broken:1', 'broken\n');
    importSample('whole:1', 'whole\n');
    const path = layout.image(digest);
    const bytes = openSync(path, 'r+');
    writeSync(bytes, Buffer.from([readFileSync(path)[100] === 1 ? 2 : 1]), 0, 1, 100);
    closeSync(bytes);
    const { status, stdout } = berth(ALICE, 'verify', 'broken:1', 'whole:1');
    expect(status).toBe(6);
    expect(stdout).toMatch(/^broken:1 {2}damaged: its content has the digest sha256:[0-9a-f]{64}$/m);
    expect(stdout).toMatch(/^whole:1 {2}sound/m);
    must(ALICE, 'rmi', 'broken:1');
    must(ALICE, 'verify', '--all');
  });
});

describe("another user's image", () => {
  it('is not known to exist, whatever one wants of it', () => {
    const digest = importSample('private:1', 'private\n');
    for (const reference of ['private:1', digest, `user:${ALICE}/private:1`]) {
      for (const args of [['inspect'], ['verify'], ['rmi'], ['share', '--everyone']]) {
        expect(berth(BOB, ...args, reference).status, `${args.join(' ')} ${reference}`).not.toBe(0);
      }
      expect(berth(BOB, 'tag', reference, 'mine:1').status).not.toBe(0);
      expect(berth(BOB, 'export', reference, '/dev/null').status).not.toBe(0);
    }
    expect(list(BOB)).toEqual([]);
  });

  // The name service has to know an owner by name, for others to name what is theirs.
  it('that is shared with one is listed, as one would name it, and nothing else of theirs', () => {
    const OWNER = 1;
    for (const name of ['lent', 'kept'])
      must(OWNER, 'import', `${name}:1`, makeArchive(scratch, { 'etc/name': file(name) }));
    must(OWNER, 'share', 'lent:1', '--user', String(BOB));
    expect(list(BOB)).toMatchObject([{ name: 'user:daemon/lent:1', owner: 'daemon' }]);
    must(BOB, 'inspect', 'user:daemon/lent:1');
    expect(must(BOB, 'images')).toMatch(/^user:daemon\/lent:1 .* daemon +owner, 1 user /m);
    expect(list(ALICE).filter(({ name }) => name.includes('lent'))).toEqual([]);
    expect(list(0)).toEqual([]);
    expect(list(OWNER).map(({ name }) => name)).toEqual(['kept:1', 'lent:1']);
    // What of theirs is damaged is not bob's to hear of.
    writeFileSync(layout.ref(OWNER, 'kept:1'), '{');
    expect(list(BOB).map(({ name }) => name)).toEqual(['user:daemon/lent:1']);
    rmSync(layout.ref(OWNER, 'kept:1'));
    must(OWNER, 'share', 'lent:1', '--nobody');
    expect(list(BOB)).toEqual([]);
    must(OWNER, 'rmi', 'lent:1');
  });

  it("that is the site's can be named, and not removed or shared", () => {
    const archive = makeArchive(scratch, { 'etc/site': file('site') });
    must(0, 'import', 'site:1', archive);
    must(BOB, 'tag', 'site:1', 'mine:1');
    expect(berth(BOB, 'rmi', 'site:1')).toMatchObject({ status: 4 });
    expect(berth(BOB, 'share', 'site:1', '--everyone')).toMatchObject({ status: 4 });
    expect(berth(BOB, 'gc')).toMatchObject({ status: 4 });
    must(0, 'rmi', 'site:1');
    expect(list(BOB).map(({ name }) => name)).toEqual(['mine:1']);
    must(BOB, 'rmi', 'mine:1');
  });
});

describe('berth gc', () => {
  /** Makes an image look as if nobody had touched it for a day. */
  function setBack(digest: string): void {
    const then = Date.now() / 1000 - 86_400;
    for (const path of [layout.image(digest), layout.ref(ALICE, digest)]) utimesSync(path, then, then);
  }

  it('removes what lost its name, and says how much that was', () => {
    const old = importSample('moving:1', 'old\n');
    const now = importSample('moving:1', 'now\n');
    setBack(old);
    const { entries } = JSON.parse(must(0, 'gc', '--json')) as { entries: { name: string; keptFor?: string }[] };
    expect(entries.filter(({ keptFor }) => keptFor === undefined).map(({ name }) => name)).toContain(old);
    expect([existsSync(layout.image(old)), existsSync(layout.image(now))]).toEqual([false, true]);
  });

  it('killed with berthd at any moment leaves every named image, and nothing that the next one does not end', async () => {
    const named = importSample('named:1', 'named\n');
    for (let round = 0; round < 8; round++) {
      const lost = importSample('losing:1', `lost ${round}\n`);
      importSample('losing:1', `kept ${round}\n`);
      setBack(lost);
      setBack(named);
      const [program = '', ...argv] = as(0, [process.execPath, cli, 'gc']);
      const client = spawn(program, argv, { env: { BERTH_SOCKET: daemon.socket }, stdio: 'ignore' });
      // Node takes about 150 ms to start, then the collection runs.
      await sleep(120 + round * 15);
      await daemon.end('SIGKILL');
      if (client.exitCode === null && client.signalCode === null) await once(client, 'exit');
      await daemon.start();
      must(ALICE, 'verify', 'named:1', 'losing:1');
      must(0, 'gc');
      expect(existsSync(layout.image(lost))).toBe(false);
      expect(readdirSync(layout.images).filter((entry) => entry.endsWith('.condemned'))).toEqual([]);
      expect(readdirSync(layout.temporary)).toEqual([]);
    }
  }, 120_000);
});

describe('berth verify', () => {
  it('is refused to a user who has two images verified already, until one is done', async () => {
    const digest = importSample('slow:1', 'slow\n');
    // An image that takes minutes to be read; it is no more what its digest says.
    const name = layout.ref(ALICE, 'slow:1');
    const record = JSON.parse(readFileSync(name, 'utf8')) as object;
    writeFileSync(name, JSON.stringify({ ...record, size: 2 ** 36 }));
    truncateSync(layout.image(digest), 2 ** 36);
    const env = { PATH: process.env['PATH'], HOME: home, BERTH_SOCKET: daemon.socket };
    const [program = '', ...argv] = as(ALICE, [process.execPath, cli, 'verify', 'slow:1']);
    const running = [1, 2, 3].map(() => spawn(program, argv, { cwd: home, env, stdio: ['ignore', 'ignore', 'pipe'] }));
    const said = (child: ChildProcess): Promise<string> =>
      new Promise((resolve) => {
        let text = '';
        child.stderr?.on('data', (chunk: Buffer) => (text += chunk.toString()));
        child.once('close', () => resolve(text));
      });
    const endings = running.map((child) => said(child));
    expect(await Promise.race(endings)).toMatch(/BERTH_NOT_PERMITTED: .*verifying more than 2 images at a time/);
    for (const child of running) child.kill('SIGKILL');
    await Promise.all(endings);
    truncateSync(layout.image(digest), 1);
    expect(berth(ALICE, 'verify', 'slow:1').stderr).not.toContain('BERTH_NOT_PERMITTED');
    must(ALICE, 'rmi', 'slow:1');
  });
});
