import { execFileSync, spawn, spawnSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import {
  chmodSync,
  chownSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import type { Server } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { gzipSync } from 'node:zlib';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { ImageStore } from '../../src/image/index.js';
import { serveImports } from './import-server.js';

// The real command line, as a process of its own, into the real store.

const USER = 23_456;
const project = join(import.meta.dirname, '../..');

let directory: string;
let rootfs: string;
let socket: string;
let server: Server;

beforeEach(async () => {
  directory = mkdtempSync(join(tmpdir(), 'berth-command-'));
  chmodSync(directory, 0o755);
  rootfs = join(directory, 'rootfs');
  for (const part of ['etc', 'usr/bin', 'dev']) mkdirSync(join(rootfs, part), { recursive: true });
  writeFileSync(join(rootfs, 'etc/os-release'), 'ID=test\n');
  writeFileSync(join(rootfs, 'usr/bin/tool'), 'tool', { mode: 0o755 });
  symlinkSync('usr/bin', join(rootfs, 'bin'));
  socket = join(directory, 'berthd.sock');
  const store = await ImageStore.open({ path: join(directory, 'store'), compressionLevel: 3 });
  server = await serveImports(socket, store);
  chmodSync(socket, 0o666);
});

afterEach(async () => {
  server.close();
  await once(server, 'close');
  rmSync(directory, { recursive: true, force: true });
});

describe('berth import reads', () => {
  const whole = [
    'drwxr-xr-x 0/0 /',
    'lrwxrwxrwx 0/0 /bin',
    'drwxr-xr-x 0/0 /dev',
    'drwxr-xr-x 0/0 /etc',
    '-rw-r--r-- 0/0 /etc/os-release',
    'drwxr-xr-x 0/0 /usr',
    'drwxr-xr-x 0/0 /usr/bin',
    '-rwxr-xr-x 0/0 /usr/bin/tool',
  ];

  it('a directory', async () => {
    execFileSync('setfattr', ['-n', 'user.note', '-v', 'kept', join(rootfs, 'usr/bin/tool')]);
    const { status, stdout } = await berth(['import', 'img', rootfs]);
    expect(status).toBe(0);
    expect(stdout).toMatch(/^imported img:latest {2}sha256:[0-9a-f]{64}\n8 entries, 4\.1 kB in the store, [\d.]+ s\n$/);
    expect(imageContent()).toEqual(whole);
  });

  const compressions: [string, string | undefined][] = [
    ['a.tar', undefined],
    ['a.tar.gz', 'gzip'],
    ['a.tar.xz', 'xz'],
    ['a.tar.zst', 'zstd'],
  ];
  it.each(compressions)(
    'the archive %s by its content, whatever its name, from a file and from standard input',
    async (_, program) => {
      const file = join(directory, 'archive');
      execFileSync('tar', ['-C', rootfs, '-cf', file, '.', ...(program ? [`--use-compress-program=${program}`] : [])]);
      expect(await berth(['import', 'img', file])).toMatchObject({ status: 0, stderr: '' });
      expect(imageContent()).toEqual(whole);
      expect(await berth(['import', 'img', '-'], { input: file })).toMatchObject({ status: 0, stderr: '' });
      expect(imageContent()).toEqual(whole);
    },
  );

  it('a squashfs file, which it builds anew', async () => {
    const file = join(directory, 'image');
    execFileSync('mksquashfs', [rootfs, file, '-comp', 'gzip', '-quiet', '-no-progress'], { stdio: 'ignore' });
    expect(await berth(['import', 'img', file])).toMatchObject({ status: 0 });
    expect(imageContent()).toEqual(whole);
  });

  it('the same directory twice into the same image', async () => {
    const first = await berth(['import', '--json', 'one', rootfs]);
    const second = await berth(['import', '--json', 'two', rootfs]);
    const digest = ({ stdout }: Result): unknown => (JSON.parse(stdout) as { image: { digest: string } }).image.digest;
    expect(digest(second)).toBe(digest(first));
  });

  it('a directory with sockets and device nodes, without them', async () => {
    execFileSync('mknod', [join(rootfs, 'dev/null'), 'c', '1', '3']);
    execFileSync('python3', ['-c', `import socket; socket.socket(socket.AF_UNIX).bind('${rootfs}/etc/socket')`]);
    const { status, stderr } = await berth(['import', 'img', rootfs]);
    expect(status).toBe(0);
    expect(stderr).toBe('berth: 1 device node was left out: containers have a /dev of their own\n');
    expect(imageContent()).toEqual(whole);
  });

  it("a user's directory as root's, and leaves other owners as they are", async () => {
    execFileSync('chown', ['-R', `${USER}:${USER}`, rootfs]);
    chownSync(join(rootfs, 'etc/os-release'), 5, 6);
    expect(await berth(['import', 'img', rootfs], { user: true })).toMatchObject({ status: 0, stderr: '' });
    expect(imageContent()).toEqual(whole.map((line) => line.replace('0/0 /etc/os-release', '5/6 /etc/os-release')));
  });
});

describe('berth import refuses, adds nothing, and says why, when', () => {
  const failing: [string, () => string, string][] = [
    ['the source is not there', () => join(directory, 'nothing'), 'no such file or directory'],
    [
      'it is neither archive nor squashfs',
      () => save(Buffer.from('hello')),
      'it is neither a tar archive nor a squashfs file',
    ],
    ['it is empty', () => save(Buffer.alloc(0)), 'it is empty'],
    [
      'it is a zip archive',
      () => save(Buffer.from('PK\x03\x04....')),
      'it is a zip archive, which keeps no owners and permissions',
    ],
    ['it is a device', () => '/dev/null', 'it is a device, not a file or directory'],
    [
      'a compressed archive was cut short',
      () => save(archive('gzip').subarray(0, -20)),
      'gzip: stdin: unexpected end of file',
    ],
    [
      'an archive was cut short between two entries',
      () => save(archive().subarray(0, 1024)),
      'it stops after 1024 bytes, before its end: it was cut short',
    ],
    ['an archive is damaged', () => save(damaged()), 'it is damaged at byte 512: the checksum does not fit'],
    [
      'a squashfs file was cut short',
      () => {
        const file = join(directory, 'whole.sqsh');
        execFileSync('mksquashfs', [rootfs, file, '-quiet', '-no-progress'], { stdio: 'ignore' });
        return save(readFileSync(file).subarray(0, 200));
      },
      'loading ID table',
    ],
    [
      'it seems to be an image in layers, and has none',
      () => save(layered()),
      'it does not hold just one image: say which, as FILE:NAME:TAG',
    ],
  ];
  it.each(failing)('%s', async (_, source, why) => {
    const { status, stdout, stderr } = await berth(['import', 'img', source()]);
    expect({ status, stdout }).toEqual({ status: 2, stdout: '' });
    expect(stderr).toContain(`berth: BERTH_IMPORT_SOURCE: `);
    expect(stderr).toContain(`berth:   why: ${why}`);
    expect(await nothingStored()).toBe(true);
  });

  it("the user may not read all of the directory: tar's archive ends properly, but is not whole", async () => {
    writeFileSync(join(rootfs, 'etc/shadow'), 'secret', { mode: 0o600 });
    const { status, stderr } = await berth(['import', 'img', rootfs], { user: true });
    expect(status).toBe(2);
    expect(stderr).toContain('why: tar: ./etc/shadow: Cannot open: Permission denied');
    expect(await nothingStored()).toBe(true);
  });

  it("berthd's converter does: its reason, with its exit status", async () => {
    const file = join(directory, 'a.tar');
    writeFileSync(file, Buffer.concat([tooLong(), Buffer.alloc(1024)]));
    const { status, stderr } = await berth(['import', 'img', file]);
    expect(status).toBe(6);
    expect(stderr).toMatch(/why: entry 'nnn.*its name is too long/);
    expect(await nothingStored()).toBe(true);
  });

  it.each(['plain', 'compressed'])(
    "berthd's converter does, while more of a %s archive is still to come from standard input",
    async (how) => {
      const client = spawn(process.execPath, commandLine(['import', 'img', '-']), {
        stdio: ['pipe', 'ignore', 'pipe'],
      });
      let stderr = '';
      client.stderr.on('data', (chunk: Buffer) => (stderr += chunk.toString()));
      client.stdin.on('error', () => undefined);
      client.stdin.write(how === 'plain' ? unending() : gzipSync(unending()));
      const [status] = (await once(client, 'exit')) as [number];
      expect(stderr).toMatch(/berth: {3}why: entry 'nnn.*its name is too long/);
      expect(status).toBe(6);
      expect(await nothingStored()).toBe(true);
    },
  );

  it.each(['SIGINT', 'SIGKILL'] as const)('it is ended by %s while it waits for the archive', async (signal) => {
    const client = spawn(process.execPath, commandLine(['import', 'img', '-']), {
      stdio: ['pipe', 'ignore', 'ignore'],
    });
    client.stdin.on('error', () => undefined);
    client.stdin.write(archive().subarray(0, 1536));
    const entries = (): string[] => readdirSync(join(directory, 'store/tmp'));
    await expect.poll(entries).toHaveLength(1);
    client.kill(signal);
    await once(client, 'exit');
    expect(await nothingStored()).toBe(true);
  });
});

interface Result {
  readonly status: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

function commandLine(argv: readonly string[]): string[] {
  return [
    '--import',
    join(project, 'node_modules/tsx/dist/loader.mjs'),
    join(project, 'src/cli/main.ts'),
    '--socket',
    socket,
    ...argv,
  ];
}

async function berth(argv: readonly string[], how: { input?: string; user?: boolean } = {}): Promise<Result> {
  const child = spawn(process.execPath, commandLine(argv), {
    stdio: ['pipe', 'pipe', 'pipe'],
    ...(how.user
      ? { uid: USER, gid: USER, env: { PATH: process.env['PATH'], HOME: directory, TSX_DISABLE_CACHE: '1' } }
      : {}),
  });
  child.stdin.on('error', () => undefined);
  child.stdin.end(how.input === undefined ? '' : readFileSync(how.input));
  let stdout = '';
  let stderr = '';
  child.stdout.setEncoding('utf8').on('data', (text: string) => (stdout += text));
  child.stderr.setEncoding('utf8').on('data', (text: string) => (stderr += text));
  const [status] = (await once(child, 'close')) as [number | null];
  return { status, stdout, stderr };
}

/** What the image named img:latest holds. */
function imageContent(): string[] {
  const ref = JSON.parse(readFileSync(join(directory, 'store/refs/site/img:latest.json'), 'utf8')) as {
    digest: string;
  };
  const file = join(directory, 'store/images/sha256', `${ref.digest.slice('sha256:'.length)}.squashfs`);
  const lines = execFileSync('unsquashfs', ['-lln', file]).toString().trim().split('\n');
  return lines.map((line) => {
    const [mode = '', owner = '', , , , name = ''] = line.split(/\s+/);
    return `${mode} ${owner} ${name.replace(/^squashfs-root/, '') || '/'}`;
  });
}

/** True as soon as the store has neither images nor unfinished work; false when that does not come. */
async function nothingStored(): Promise<boolean> {
  for (let i = 0; i < 200; i++) {
    if (['images/sha256', 'refs/site', 'tmp'].every((part) => readdirSync(join(directory, 'store', part)).length === 0))
      return true;
    await sleep(20);
  }
  return false;
}

function save(content: Buffer): string {
  const path = join(directory, 'source');
  writeFileSync(path, content);
  return path;
}

function archive(compressor?: string): Buffer {
  return execFileSync('tar', [
    '-C',
    rootfs,
    '-cf',
    '-',
    '--sort=name',
    '.',
    ...(compressor ? [`--use-compress-program=${compressor}`] : []),
  ]);
}

/** The beginning of an archive that cannot be converted: one directory twice, then a file with much more to come. */
/** An entry with a name that no file can have. */
function tooLong(): Buffer {
  const rename = `--transform=s,.*,${'n'.repeat(300)},`;
  return execFileSync('tar', ['-C', rootfs, '-cf', '-', '--no-recursion', rename, 'etc']).subarray(0, 1536);
}

function unending(): Buffer {
  const large = join(directory, 'large');
  writeFileSync(large, '');
  truncateSync(large, 100_000_000);
  const file = spawnSync('sh', ['-c', `tar -C ${directory} -cf - large | head -c 512`]).stdout;
  return Buffer.concat([tooLong(), file, randomBytes(1024 * 1024)]);
}

function damaged(): Buffer {
  const bytes = archive();
  bytes.fill('x', 512, 520);
  return bytes;
}

function layered(): Buffer {
  writeFileSync(join(directory, 'oci-layout'), '{}');
  writeFileSync(join(directory, 'index.json'), '{}');
  return execFileSync('tar', ['-C', directory, '-cf', '-', 'oci-layout', 'index.json']);
}
