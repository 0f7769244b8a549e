// Files as images where [store] files = "fuse": squashfuse serves them, as the user and as long as the container lasts.
import { execFile } from 'node:child_process';
import { readdirSync, readFileSync, readlinkSync } from 'node:fs';
import { chmod, chown, mkdir, rm, stat, truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';
import { afterEach, beforeAll, describe, expect, it } from 'vitest';
import { privateTmp } from '../cluster/slurm-configuration.js';
import { compileStatic } from '../images/programs.js';
import { expectNothingLeft, settled } from './leftovers.js';
import { configurations, Site } from './site.js';

const NODES = 2;
const run = promisify(execFile);
const [configuration, withoutNamespaces] = configurations(NODES);
const { node, nodes } = configuration;

let site: Site;
let home: string;
let root: string;
let config: string;
let alice: { uid: number; gid: number };
beforeAll(async () => {
  site = await Site.start({ nodes: NODES, ...privateTmp, images: [] });
  home = join(site.cluster.layout.home, 'alice');
  alice = await stat(home);
  root = join(site.cluster.dir, 'root');
  await mkdir(join(root, 'bin'), { recursive: true });
  await compileStatic('show', join(root, 'bin', 'show'));
  const { stdout } = await site.cluster.exec(node, ['cat', '/etc/berth/berth.toml']);
  config = join(site.cluster.dir, 'fuse.toml');
  await writeFile(config, stdout.replace('[store]\n', '[store]\nfiles = "fuse"\n'));
  for (const each of nodes) {
    await openFuse(each);
    await restart(each);
  }
  return () => site.stop();
});
afterEach(async () => {
  await expectNothingLeft(site.cluster);
  expect(await settled(async () => (await servers()).map(({ pid }) => `server ${pid}`))).toEqual([]);
});

/** Gives a node its /dev/fuse as udev makes it: open to users. */
async function openFuse(on: string): Promise<void> {
  const script = `mkdir -p /run/dev; mount -t tmpfs none /run/dev; mknod -m 666 /run/dev/fuse c 10 229
    mount --bind /run/dev/fuse /dev/fuse`;
  const { status, stderr } = await site.cluster.exec(on, ['sh', '-ec', script]);
  if (status !== 0) throw new Error(stderr);
}

async function restart(on: string, file = config): Promise<void> {
  await site.cluster.stopDaemon(on);
  await site.cluster.startDaemon(on, { config: file });
}

/** Puts a squashfs file that says `text` into alice's home directory, and returns its path there. */
async function make(name: string, text: string, mode = 0o644): Promise<string> {
  const path = join(home, name);
  await writeFile(join(root, 'image'), `${text}\n`);
  await rm(path, { force: true });
  await run('mksquashfs', [root, path, '-noappend', '-quiet', '-no-progress', '-all-root']);
  await chown(path, alice.uid, alice.gid);
  await chmod(path, mode);
  return `/home/alice/${name}`;
}

interface Server {
  readonly pid: number;
  readonly node: string;
  readonly uid: number;
}

/** The processes that serve files on the site's nodes. */
async function servers(): Promise<Server[]> {
  const namespaces = await Promise.all(
    nodes.map(async (each) => ({ node: each, mount: (await site.hostNamespaces(each)).mount })),
  );
  return readdirSync('/proc').flatMap((name): Server[] => {
    try {
      if (!readFileSync(`/proc/${name}/cmdline`, 'latin1').includes('/dev/fd/5')) return [];
      const mount = readlinkSync(`/proc/${name}/ns/mnt`);
      const at = namespaces.find((namespace) => namespace.mount === mount);
      const uid = /^Uid:\t(\d+)/m.exec(readFileSync(`/proc/${name}/status`, 'utf8'))?.[1];
      return at ? [{ pid: Number(name), node: at.node, uid: Number(uid) }] : [];
    } catch {
      return [];
    }
  });
}

const shell = (script: string, user = 'alice'): ReturnType<Site['shell']> =>
  site.shell(configuration, script, { user });
const lines = (script: string): Promise<string[]> => site.lines(configuration, script);

/** Runs a job whose ranks wait; `meanwhile` happens when they are all there, and then they go on. */
async function whileRanksWait(
  script: string,
  ranks: number,
  meanwhile: () => Promise<void>,
): ReturnType<Site['shell']> {
  const job = shell(`rm -f go go.here; ${script}`);
  const waiting = await settled(async () => {
    const here = await stat(join(home, 'go.here')).catch(() => undefined);
    const { stdout } = await site.cluster.exec(node, ['berth', 'ps', '--json']);
    const { containers } = JSON.parse(stdout) as { containers: { ranks: number }[] };
    return here && containers.some((container) => container.ranks === ranks) ? [] : ['they are not there'];
  });
  try {
    expect(waiting).toEqual([]);
    await meanwhile();
  } finally {
    await writeFile(join(home, 'go'), '');
  }
  return job;
}

describe('a served file', () => {
  it('runs on every node and rank, with one server a node, of the user, that ends with the job', async () => {
    const path = await make('app.sqsh', 'from a file');
    let seen: Server[] = [];
    const { stdout, stderr } = await whileRanksWait(
      `srun -N2 -n4 --image=${path} /bin/show await $HOME/go`,
      2,
      async () => {
        seen = await servers();
      },
    );
    expect({ stdout, stderr }).toEqual({ stdout: 'from a file\n'.repeat(4), stderr: '' });
    expect(seen.map((server) => [server.node, server.uid]).sort()).toEqual(nodes.map((each) => [each, alice.uid]));
  });

  it('is for sbatch and salloc too, and in a /tmp that the job has for itself', async () => {
    const path = await make('my app.sqsh', 'spaces');
    expect(
      await lines(`batch --output=out --image=./'my app.sqsh' --wrap 'srun /bin/show; cd /; srun /bin/show'; cat out`),
    ).toEqual(['spaces', 'spaces']);
    const script = `srun --image=none cp "${path}" /tmp/own.sqsh; srun --image=/tmp/own.sqsh /bin/show`;
    expect(await lines(`salloc --quiet -w ${node} bash -c '${script}'`)).toEqual(['spaces']);
  });

  it('goes on while berthd is killed, and the next berthd has it removed at the end of its job', async () => {
    const path = await make('kill.sqsh', 'still there');
    let before: Server[] = [];
    let after: Server[] = [];
    const script = `salloc --quiet -w ${node} bash -c 'srun -n2 --image=${path} /bin/show await $HOME/go; srun --image=${path} /bin/show'`;
    const { stdout, stderr } = await whileRanksWait(script, 2, async () => {
      before = await servers();
      await site.cluster.killDaemon(node);
      await restart(node);
      after = await servers();
    });
    expect({ stdout, stderr }).toEqual({ stdout: 'still there\n'.repeat(3), stderr: '' });
    expect(before).toHaveLength(1);
    expect(after).toEqual(before);
  });

  it('ends with its job though berthd is away then', async () => {
    const path = await make('away.sqsh', 'away');
    const { stdout } = await whileRanksWait(`srun -w ${node} --image=${path} /bin/show await $HOME/go`, 1, () =>
      site.cluster.killDaemon(node).then(() => undefined),
    );
    expect(stdout).toBe('away\n');
    await restart(node);
  });

  it('leaves nothing whenever berthd is killed during a launch', { timeout: 90_000 }, async () => {
    const path = await make('moments.sqsh', 'moments');
    // A launch takes some 20 ms, a fifth of a second after srun was called.
    for (const delay of [100, 140, 160, 180, 200, 220, 240, 280]) {
      const job = shell(`srun -w ${node} --image=${path} /bin/show`);
      await sleep(delay);
      await site.cluster.killDaemon(node);
      await restart(node);
      await job;
    }
    expect(await lines(`srun -w ${node} --image=${path} /bin/show`)).toEqual(['moments']);
  });

  it('whose server is killed is an error for its ranks; the next step of the job has another', async () => {
    const path = await make('dead.sqsh', 'alive');
    const script = `salloc --quiet -w ${node} bash -c 'srun --image=${path} /bin/show await $HOME/go; srun --image=${path} /bin/show'`;
    const { stdout, stderr } = await whileRanksWait(script, 1, async () => {
      for (const { pid } of await servers()) process.kill(pid, 'SIGKILL');
    });
    expect(stderr).toMatch(/Transport endpoint is not connected|Software caused connection abort/);
    expect(stdout).toBe('no image\nalive\n');
  });

  it('leaves nothing though its user has stopped the server', async () => {
    const path = await make('stopped.sqsh', 'stopped');
    const wait = 'touch go.here; until [ -e go ]; do sleep 0.05; done';
    const script = `salloc --quiet -w ${node} bash -c 'srun --image=${path} /bin/show; ${wait}'`;
    const { stdout } = await whileRanksWait(script, 0, async () => {
      for (const { pid } of await servers()) process.kill(pid, 'SIGSTOP');
    });
    expect(stdout).toBe('stopped\n');
  });
});

describe('an error that says what to do, and leaves nothing, is', () => {
  async function failed(path: string, user = 'alice'): Promise<string> {
    const { status, stdout, stderr } = await shell(`cd /; srun -w ${node} -n2 --image=${path} /bin/show`, user);
    expect({ failed: status !== 0, stdout }).toEqual({ failed: true, stdout: '' });
    expect(stderr).toMatch(/hint: \S/);
    expect(await lines('sinfo -h -o %T | sort -u')).not.toContain('drained');
    return stderr;
  }

  it('a file that the user may not read', async () => {
    const path = await make('secret.sqsh', 'of alice', 0o600);
    await chmod(home, 0o755);
    expect(await failed(path, 'bob')).toMatch(/BERTH_FILE_UNUSABLE: [^]*why: permission denied/i);
  });

  it('a file that is no squashfs, or was cut', async () => {
    await writeFile(join(home, 'none'), 'x'.repeat(10_000));
    expect(await failed('/home/alice/none')).toMatch(/BERTH_FILE_UNUSABLE: [^]*squashfs/);
    const path = await make('cut.sqsh', 'cut');
    await truncate(join(home, 'cut.sqsh'), 3000);
    expect(await failed(path)).toMatch(/BERTH_FILE_UNUSABLE: [^]*why: \S/);
  });

  it('a node without squashfuse', async () => {
    const path = await make('missing.sqsh', 'missing');
    await site.cluster.exec(node, ['mount', '--bind', '/dev/null', '/usr/bin/squashfuse_ll']);
    try {
      const text = await failed(path);
      expect(text).toMatch(/BERTH_FUSE_UNAVAILABLE: [^]*why: squashfuse_ll is not installed/);
      expect(text).toContain('the package squashfuse');
    } finally {
      await site.cluster.exec(node, ['umount', '/usr/bin/squashfuse_ll']);
    }
  });

  it('a node whose /dev/fuse users may not open', async () => {
    const path = await make('closed.sqsh', 'closed');
    await site.cluster.exec(node, ['chmod', '600', '/run/dev/fuse']);
    try {
      expect(await failed(path)).toMatch(/BERTH_FUSE_UNAVAILABLE: [^]*\/dev\/fuse/);
    } finally {
      await site.cluster.exec(node, ['chmod', '666', '/run/dev/fuse']);
    }
  });

  it('a node without user namespaces: berthd does not start', async () => {
    const [off = ''] = withoutNamespaces.nodes;
    const file = join(site.cluster.dir, 'off.toml');
    await writeFile(file, '[store]\nfiles = "fuse"\n[container]\nuserns = "off"\n');
    await expect(restart(off, file)).rejects.toThrow(/\[store\] files is "fuse" with \[container\] userns = "off"/);
    await site.startDaemon(off);
  });
});
