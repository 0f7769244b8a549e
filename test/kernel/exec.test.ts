// `berth exec`: the real command, entering a container of the real berthd.
import { spawnSync } from 'node:child_process';
import { chmodSync, mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { v1 } from '../../src/protocol/index.js';
import { TestClient, TestDaemon } from './helpers/daemon.js';
import { directory, makeArchive, toolbox } from './helpers/images.js';
import { makeScratch, removeScratch } from './helpers/scratch.js';

/** In every system's accounts; has no subordinate ids. */
const NOBODY = 65_534;
const bin = join(import.meta.dirname, '..', '..', 'build', 'bin', 'berth');
const cli = join(import.meta.dirname, '..', '..', 'build', 'lib', 'cli.js');

const CONFIG = `
[container]
home = false
environment = ["SITE=said", "PATH=/opt/site/bin"]
`;

let daemon: TestDaemon;
let scratch: string;

beforeAll(async () => {
  scratch = makeScratch();
  chmodSync(scratch, 0o755);
  daemon = new TestDaemon(CONFIG);
  await daemon.start();
  const archive = makeArchive(scratch, { toolbox: toolbox(), 'work/deep': directory(), 'bin/x': directory() });
  const imported = run(process.execPath, [cli, 'import', 'app', archive]);
  expect(imported.stderr).toBe('');
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

function run(command: string, args: readonly string[], cwd = '/'): Result {
  const env = { PATH: '/usr/bin:/bin', BERTH_SOCKET: daemon.socket, KEPT: 'outside' };
  return spawnSync(command, args, { encoding: 'utf8', env, cwd });
}

let job = 0;

/** Has berthd build a container with these options; resolves with the number of its job. */
async function prepare(options: Readonly<Record<string, string>> = {}): Promise<number> {
  const client = await TestClient.open(daemon.socket);
  const launch = {
    purpose: v1.Purpose.PURPOSE_RANK,
    jobId: ++job,
    uid: NOBODY,
    gid: NOBODY,
    image: 'app',
    nodeName: 'n1',
    options: Object.entries(options).map(([name, value]) => ({ name, value })),
  };
  const reply = await client.ask({ launch });
  client.socket.destroy();
  expect(reply?.error ?? null).toBeNull();
  return job;
}

async function end(jobId: number): Promise<void> {
  const client = await TestClient.open(daemon.socket);
  await client.ask({ jobEnd: { jobId } });
  client.socket.destroy();
}

/** Runs `berth exec` as the container's owner. */
function exec(jobId: number, args: readonly string[], cwd?: string): Result {
  const user = ['--reuid=65534', '--regid=65534', '--clear-groups', '--inh-caps=-all'];
  return run('setpriv', [...user, bin, 'exec', `--job=${jobId}`, ...args], cwd);
}

async function inside(options: Readonly<Record<string, string>>, use: (jobId: number) => void): Promise<void> {
  const jobId = await prepare(options);
  try {
    use(jobId);
  } finally {
    await end(jobId);
  }
}

describe('berth exec', () => {
  it("gives the command the container's environment on top of the caller's", () =>
    inside({}, (jobId) => {
      const { stdout, stderr } = exec(jobId, ['-e', 'MINE=1', '/toolbox', 'environment']);
      expect(stderr).toBe('');
      const variables = stdout.trim().split('\n');
      expect(variables).toEqual(
        expect.arrayContaining(['SITE=said', 'PATH=/opt/site/bin:/.berth/bin', 'KEPT=outside', 'MINE=1']),
      );
    }));

  it('tells the command which container and image it is in, as it tells ranks', () =>
    inside({}, (jobId) => {
      const variables = exec(jobId, ['/toolbox', 'environment']).stdout.trim().split('\n');
      expect(variables).toEqual(
        expect.arrayContaining([
          expect.stringMatching(/^BERTH_CONTAINER=[0-9a-f]{12,}$/),
          expect.stringMatching(/^BERTH_IMAGE=app/),
          expect.stringMatching(/^BERTH_IMAGE_DIGEST=sha256:[0-9a-f]{64}$/),
        ]),
      );
    }));

  it('starts where the user says, where the user is, or in the root directory', () =>
    inside({}, (jobId) => {
      const where = (cwd: string, ...args: string[]): string =>
        exec(jobId, [...args, '/toolbox', 'where'], cwd).stdout.trim();
      mkdirSync(join(scratch, 'only-outside'));
      expect(where('/', '--workdir=/work/deep')).toBe('/work/deep');
      expect(where('/tmp')).toBe('/tmp');
      expect(where('/usr/lib')).toBe('/');
      const { status, stderr } = exec(jobId, ['--workdir=/absent', '/toolbox', 'where']);
      expect(status).toBe(125);
      expect(stderr).toContain('BERTH_WORKDIR');
    }));

  it('enters the network, IPC and UTS namespaces of the container too', () =>
    inside({ 'container-unshare': 'net,ipc,uts' }, (jobId) => {
      const { stdout, stderr } = exec(jobId, ['/toolbox', 'read', '/proc/self/net/dev']);
      expect(stderr).toBe('');
      expect(
        stdout
          .trim()
          .split('\n')
          .slice(2)
          .map((line) => line.trim().split(':')[0]),
      ).toEqual(['lo']);
    }));

  it.each([
    ['as their user', exec],
    ['as root', (jobId: number, args: readonly string[]) => run(bin, ['exec', `--job=${jobId}`, ...args])],
  ])('enters a container whose user is root, %s, with the rights of the user', (_, enter) =>
    inside({ 'container-remap-root': '', 'container-writable': '' }, (jobId) => {
      expect(enter(jobId, ['/toolbox', 'id']).stdout).toMatch(/^0 0 0 0/);
      expect(enter(jobId, ['/toolbox', 'write', '/new', '/proc/sys/kernel/hostname']).stdout).toMatch(/^written\nE/);
      expect(enter(jobId, ['/toolbox', 'chown', '/new']).stdout).toBe('changed\n');
    }),
  );
});
