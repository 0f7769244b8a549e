// The life of Berth's packages on a Debian 12 that systemd runs: installed, used, upgraded under jobs, removed, purged.
// The tests are one story: each goes on where the one before it ended.
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { testConfinement } from './confined.js';
import { Machine } from './machine.js';
import { builtPackages, nextRevision, nodePackage } from './packages.js';

const APT = 'DEBIAN_FRONTEND=readline apt-get -o APT::Sandbox::User=root';

/** Checks that look at what this machine shares with the one that it runs on: its clock, and its kernel. */
const OF_THE_HOST = new Set(['clock', 'kernel-log', 'blocked-processes', 'memory-errors']);

const root = join(import.meta.dirname, '..', '..');

let machine: Machine;
let files: { berth: string; plugin: string };
const directory = mkdtempSync(join(tmpdir(), 'berth-packages-'));

beforeAll(async () => {
  files = builtPackages();
  machine = await Machine.boot();
  await machine.copyIn(nodePackage(directory));
  await machine.must(`dpkg --install /root/nodejs.deb`);
});
afterAll(async () => {
  await machine.stop();
  rmSync(directory, { recursive: true });
});

const base = (file: string): string => file.replace(/.*\//, '');

async function containers(): Promise<{ id: string; ranks: number }[]> {
  const text = await machine.must('berth ps --json');
  return (JSON.parse(text) as { containers: { id: string; ranks: number }[] }).containers;
}

describe('installed by apt, it', () => {
  it('asks nothing, and runs: berthd in the mount namespace of the machine, its socket with systemd', async () => {
    for (const file of [files.berth, files.plugin]) await machine.copyIn(file);
    await machine.must(
      `cd /root && ${APT} install --yes --no-install-recommends ./${base(files.berth)} ./${base(files.plugin)}`,
    );
    await machine.must('systemctl is-active berthd.service berthd.socket');
    await machine.must('systemctl is-enabled berthd.service berthd.socket');
    expect((await machine.shell('systemctl is-enabled berth-gc.timer')).stdout.trim()).toBe('disabled');
    const { mounts } = await machine.daemon();
    expect(mounts).toBe(await machine.must('readlink /proc/1/ns/mnt'));
    expect(await machine.must('stat -c "%U %G %a" /run/berth/berthd.sock')).toBe('root root 666');
  });

  it('belongs to root, and nobody else may write to any of it', async () => {
    const list = 'dpkg --listfiles berth $(dpkg-query -W -f \'${Package}\' "berth-slurm-*") | grep ^/';
    const odd = await machine.must(
      `${list} | sort -u | xargs -d '\\n' stat -c '%U:%G %A %n' | grep -vE '^root:root [-dl]......... |^root:root lrwxrwxrwx ' || true`,
    );
    expect(odd).toBe('');
    const writable = await machine.must(
      `${list} | sort -u | while read -r f; do find "$f" -maxdepth 0 ! -type l -perm /022; done`,
    );
    expect(writable).toBe('');
    expect(await machine.must('dpkg --verify berth')).toBe('');
  });

  it('has its command, manual pages and completion', async () => {
    const { version } = JSON.parse(await machine.must('berth version --json')) as { version?: string };
    expect(await machine.must('berth --version')).toContain(version ?? 'berth');
    expect(await machine.must('berth config check')).toBe('/etc/berth/berth.toml: no errors');
    const pages = ['berth', 'berth-pull', 'berthd', 'berth.toml', 'berth-healthcheck', 'spank_berth'];
    for (const page of pages) expect(await machine.must(`man --where ${page}`)).toContain(page);
    expect(await machine.must('MANWIDTH=80 man berth-pull')).toContain('berth-pull - bring an image from a registry');
    expect(await machine.must('whatis berthd')).toContain('the daemon of Berth');
  });

  it('has the documents that its messages name', async () => {
    const messages = ['src/errors/errors.json', 'docs/health.md', 'docs/configuration.md'];
    const texts = messages.map((name) => readFileSync(join(root, name), 'utf8')).join('');
    const named = [...new Set([...texts.matchAll(/\bdocs\/[a-z-]+\.md\b/g)].map(([name]) => name))];
    expect(named).toContain('docs/errors.md');
    await machine.must(`cd /usr/share/doc/berth && ls ${named.join(' ')}`);
  });

  it('has units that systemd has no complaint about', async () => {
    const { stdout, stderr } = await machine.shell(
      'systemd-analyze verify berthd.service berthd.socket berth-gc.service berth-gc.timer',
    );
    expect(stdout + stderr).toBe('');
  });

  it('finds itself well installed', async () => {
    const { stdout } = await machine.shell('berth health --json --max-age 0');
    const { checks } = JSON.parse(stdout) as { checks: { id: string; status: string; text: string }[] };
    const faults = checks.filter(({ id, status }) => !OF_THE_HOST.has(id) && status !== 'pass');
    expect(faults).toEqual([]);
    expect(checks.map(({ id }) => id)).toEqual(
      expect.arrayContaining(['versions', 'plugin', 'plugin-slurm', 'canary']),
    );
  });
});

describe('used by Slurm, it', () => {
  it('runs ranks in a container', async () => {
    await machine.must(`
      mkdir -p /root/image/bin && cd /root/image && ln -s . usr
      cp --parents $(for p in /bin/bash /bin/sleep /usr/bin/id /bin/cat /bin/chown /usr/bin/stat; do echo $p; ldd $p | grep -o '/lib[^ ]*'; done | sort -u) .
      mkdir -p etc && echo small >etc/image
      berth import small /root/image`);
    expect(
      await machine.must("bash -ic '. /usr/share/bash-completion/completions/berth; _berth_images' 2>/dev/null"),
    ).toBe('small:latest');
    const { status, stdout, stderr } = await machine.srun('-n2 --image=small bash -c "cat /etc/image; id -u"');
    expect({ status, stderr }).toEqual({ status: 0, stderr: '' });
    expect(stdout.trim().split('\n').sort()).toEqual(['1000', '1000', 'small', 'small']);
    expect((await machine.srun('--help')).stdout).toContain('--image=REF');
  });

  it('is collected by its timer’s service, which only asks berthd', async () => {
    await machine.must('systemctl start berth-gc.service');
    expect(await machine.must('systemctl show --property=Result --value berth-gc.service')).toBe('success');
  });

  it('is started by a launch when it was stopped, however often: the socket stays', async () => {
    for (let count = 0; count < 25; count++) await machine.must('systemctl stop berthd.service && berth ps');
    await machine.must('systemctl stop berthd.service');
    expect((await machine.shell('systemctl is-active berthd.service')).stdout.trim()).toBe('inactive');
    expect((await machine.srun('--image=small id -u')).stdout.trim()).toBe('1000');
    await machine.must('systemctl is-active berthd.service');
  });

  it('is started again when it was killed, for the launch that waits', async () => {
    const { pid } = await machine.daemon();
    await machine.must(`kill -KILL ${pid}`);
    expect((await machine.srun('--image=small id -u')).stdout.trim()).toBe('1000');
    await machine.until('systemctl is-active berthd.service berthd.socket');
    expect((await machine.daemon()).pid).not.toBe(pid);
  });

  it('gives no program that it starts its socket', async () => {
    const { pid } = await machine.daemon();
    const inode = await machine.must(`stat -L -c %i /proc/${pid}/fd/3`);
    const job = machine.srun('--image=small sleep 1');
    await machine.until('berth ps --json | grep -q \'"ranks": 1\'');
    const holders = await machine.must(`find /proc/[0-9]*/fd -lname 'socket:\\[${inode}\\]' | cut -d/ -f3 | sort -un`);
    expect(holders.split('\n').sort()).toEqual(['1', pid].sort());
    expect((await job).status).toBe(0);
  });
});

describe('confined by its unit, it', () => {
  testConfinement(() => machine);
});

describe('upgraded while jobs run, it', () => {
  it('asks nothing, starts again, and no rank notices, neither running ones nor those of that moment', async () => {
    for (const file of [files.berth, files.plugin]) await machine.copyIn(nextRevision(file, directory));
    const before = await machine.daemon();
    const long = machine.srun(
      '-n4 --image=small bash -c "for i in 1 2 3 4 5 6 7 8 9 10; do sleep 1; cat /etc/image; done"',
    );
    await machine.until('berth ps --json | grep -q \'"ranks": 4\'');
    const container = (await containers()).find(({ ranks }) => ranks === 4);
    let upgrading = true;
    const launches: { status: number; stderr: string }[] = [];
    const launching = (async () => {
      while (upgrading) launches.push(await machine.srun('-n2 --overlap --image=small id -u'));
    })();
    await machine.must(`cd /root && ${APT} install --yes --no-install-recommends ./*+next*.deb`);
    upgrading = false;
    await launching;
    expect(launches.length).toBeGreaterThan(2);
    expect(launches.filter(({ status }) => status !== 0)).toEqual([]);
    expect(await machine.must("dpkg-query -W -f '${Version}' berth")).toContain('+next');
    expect((await machine.daemon()).pid).not.toBe(before.pid);
    const now = await containers();
    expect(now.find(({ id }) => id === container?.id)?.ranks).toBe(4);
    const { status, stdout, stderr } = await long;
    expect({ status, stderr }).toEqual({ status: 0, stderr: '' });
    expect(stdout.split('\n').filter((line) => line === 'small')).toHaveLength(40);
  });

  it('takes the same packages again without a change', async () => {
    await machine.must(`cd /root && ${APT} install --yes --reinstall ./*+next*.deb`);
    await machine.must('systemctl is-active berthd.service berthd.socket');
    expect((await machine.srun('--image=small id -u')).stdout.trim()).toBe('1000');
  });
});

describe('removed while a job runs, it', () => {
  it('leaves ranks, pins, images and configuration in peace, and Slurm without the plugin', async () => {
    const job = machine.srun('-n2 --image=small bash -c "sleep 6; cat /etc/image"');
    await machine.until('berth ps --json | grep -q \'"ranks": 2\'');
    await machine.must(`${APT} remove --yes berth`);
    expect(await machine.must('ls /run/berth/containers | wc -l')).not.toBe('0');
    expect((await machine.srun('id -u')).stdout.trim()).toBe('1000');
    expect((await machine.srun('--image=small id -u')).stderr).toContain("unrecognized option '--image=small'");
    const { status, stdout } = await job;
    expect({ status, stdout }).toEqual({ status: 0, stdout: 'small\nsmall\n' });
    expect((await machine.shell('systemctl is-active berthd.service berthd.socket')).stdout).not.toMatch(/^active/m);
    await machine.must(
      'test -s /etc/berth/berth.toml && ls /var/lib/berth/images/sha256/* && test ! -e /run/berth/berthd.sock',
    );
  });

  it('comes back as it was', async () => {
    await machine.must(`cd /root && ${APT} install --yes --no-install-recommends ./*+next*.deb`);
    expect((await machine.srun('--image=small id -u')).stdout.trim()).toBe('1000');
  });
});

describe('purged, it', () => {
  it('leaves no configuration, and says that the images are left', async () => {
    const text = await machine.must(`${APT} purge --yes berth "berth-slurm-*"`);
    expect(text).toContain('berth: the images in /var/lib/berth are left');
    await machine.must('ls /var/lib/berth/images/sha256/*');
    const left =
      'ls -d /etc/berth /etc/slurm/plugstack.conf.d/berth* /usr/lib/berth /etc/systemd/system/*/berth* 2>/dev/null';
    expect((await machine.shell(left)).stdout).toBe('');
    expect((await machine.srun('id -u')).stdout.trim()).toBe('1000');
  });
});
