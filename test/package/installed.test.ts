// The life of Berth's packages on a Debian 12 that systemd runs: installed, used, upgraded under jobs, removed, purged.
// The tests are one story: each goes on where the one before it ended.
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Machine } from './machine.js';
import { builtPackages, nextRevision, nodePackage } from './packages.js';

const APT = 'DEBIAN_FRONTEND=readline apt-get -o APT::Sandbox::User=root';

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

/** Runs srun as alice to its end. */
function srun(words: string): Promise<{ status: number; stdout: string; stderr: string }> {
  return machine.shell(`cd /home/alice && timeout 50 srun --quiet ${words}`, 'alice');
}

async function containers(): Promise<{ id: string; ranks: number }[]> {
  const text = await machine.must('berth ps --json');
  return (JSON.parse(text) as { containers: { id: string; ranks: number }[] }).containers;
}

async function daemon(): Promise<{ pid: string; mounts: string }> {
  const pid = await machine.must('systemctl show --property=MainPID --value berthd');
  return { pid, mounts: await machine.must(`readlink /proc/${pid}/ns/mnt`) };
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
    const { mounts } = await daemon();
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

  it('has units that systemd has no complaint about', async () => {
    const { stdout, stderr } = await machine.shell(
      'systemd-analyze verify berthd.service berthd.socket berth-gc.service berth-gc.timer',
    );
    expect(stdout + stderr).toBe('');
  });

  it('finds itself well installed', async () => {
    const { stdout } = await machine.shell('berth health --json --max-age 0');
    const { checks } = JSON.parse(stdout) as { checks: { id: string; status: string; text: string }[] };
    const own = ['daemon', 'versions', 'plugin', 'plugin-slurm', 'configuration', 'store', 'pins', 'canary'];
    const faults = checks.filter(({ id, status }) => own.some((one) => id.startsWith(one)) && status !== 'pass');
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
      cp --parents $(for p in /bin/bash /bin/sleep /usr/bin/id /bin/cat; do echo $p; ldd $p | grep -o '/lib[^ ]*'; done | sort -u) .
      mkdir -p etc && echo small >etc/image
      berth import small /root/image`);
    expect(
      await machine.must("bash -ic '. /usr/share/bash-completion/completions/berth; _berth_images' 2>/dev/null"),
    ).toBe('small:latest');
    const { status, stdout, stderr } = await srun('-n2 --image=small bash -c "cat /etc/image; id -u"');
    expect({ status, stderr }).toEqual({ status: 0, stderr: '' });
    expect(stdout.trim().split('\n').sort()).toEqual(['1000', '1000', 'small', 'small']);
    expect((await srun('--help')).stdout).toContain('--image=REF');
  });

  it('is collected by its timer’s service, which only asks berthd', async () => {
    await machine.must('systemctl start berth-gc.service');
    expect(await machine.must('systemctl show --property=Result --value berth-gc.service')).toBe('success');
  });

  it('is started by a launch when it was stopped: the socket stays', async () => {
    await machine.must('systemctl stop berthd.service');
    expect((await machine.shell('systemctl is-active berthd.service')).stdout.trim()).toBe('inactive');
    expect((await srun('--image=small id -u')).stdout.trim()).toBe('1000');
    await machine.must('systemctl is-active berthd.service');
  });

  it('gives no program that it starts its socket', async () => {
    const { pid } = await daemon();
    const inode = await machine.must(`stat -L -c %i /proc/${pid}/fd/3`);
    const job = srun('--image=small sleep 1');
    await machine.until('berth ps --json | grep -q \'"ranks": 1\'');
    const holders = await machine.must(`find /proc/[0-9]*/fd -lname 'socket:\\[${inode}\\]' | cut -d/ -f3 | sort -un`);
    expect(holders.split('\n').sort()).toEqual(['1', pid].sort());
    expect((await job).status).toBe(0);
  });
});

/** The unit forbids berthd what it does not need. These need the most. */
describe('confined by its unit, it', () => {
  const restore = 'cp /root/berth.toml /etc/berth/berth.toml && systemctl restart berthd.service';

  async function withConfiguration(text: string, use: () => Promise<void>): Promise<void> {
    const file = '/etc/berth/berth.toml';
    await machine.must(`cp ${file} /root/ && printf '%s' '${text}' >${file} && systemctl restart berthd.service`);
    try {
      await use();
    } finally {
      await machine.must(restore);
    }
  }

  it('has only the rights that it may need, and no way to more', async () => {
    const { pid } = await daemon();
    const status = await machine.must(`cat /proc/${pid}/status`);
    expect(status).toMatch(/^NoNewPrivs:\s1$/m);
    expect(status).toMatch(/^Seccomp:\s2$/m);
    const bounding = BigInt(`0x${/^CapBnd:\s(\w+)$/m.exec(status)?.[1] ?? ''}`);
    // linux/capability.h: CAP_SYS_MODULE, CAP_SYS_RAWIO, CAP_SYS_BOOT, CAP_SYS_TIME.
    for (const number of [16n, 17n, 22n, 25n]) expect((bounding >> number) & 1n).toBe(0n);
  });

  it('makes an image of a file', async () => {
    await machine.must('mksquashfs /root/image /home/alice/small.squashfs -all-root -no-progress -quiet');
    expect(await srun('--image=./small.squashfs cat /etc/image')).toEqual({ status: 0, stdout: 'small\n', stderr: '' });
  });

  it('has a file served by FUSE, and stops without its server', async () => {
    await withConfiguration('[store]\nfiles = "fuse"\n', async () => {
      const job = srun('--image=./small.squashfs bash -c "sleep 3; cat /etc/image"');
      await machine.until('berth ps --json | grep -q \'"ranks": 1\'');
      await machine.must('systemctl restart berthd.service');
      expect(await job).toEqual({ status: 0, stdout: 'small\n', stderr: '' });
    });
  });

  it('makes a cache for each node', async () => {
    // What the machine's own root is on can have none.
    await withConfiguration('[volumes]\ncache_filesystems = ["tmpfs"]\n', async () => {
      await machine.must('mkdir /dev/shm/cache && chown alice: /dev/shm/cache');
      const volume = '--volume=/dev/shm/cache:/cache:perNodeCache=size=20M';
      const { status, stdout, stderr } = await srun(
        `--image=small ${volume} bash -c "echo kept >/cache/file; cat /cache/file"`,
      );
      expect({ status, stdout, stderr }).toEqual({ status: 0, stdout: 'kept\n', stderr: '' });
    });
  });

  it('lets users be root in containers that they may write to, with a network of their own', async () => {
    const options = '--image=small --container-remap-root --container-writable --container-unshare=net,ipc,uts';
    expect(await srun(`${options} bash -c "echo changed >/etc/image; cat /etc/image; id -u"`)).toEqual({
      status: 0,
      stdout: 'changed\n0\n',
      stderr: '',
    });
  });

  it('gives up on a configuration with mistakes, and comes back when they are mended', async () => {
    await machine.must('cp /etc/berth/berth.toml /root/ && echo nonsense >/etc/berth/berth.toml');
    expect((await machine.shell('systemctl restart berthd.service')).status).not.toBe(0);
    const { status, stderr } = await srun('--image=small true');
    expect(status).not.toBe(0);
    expect(stderr).toContain('BERTH_DAEMON_UNREACHABLE');
    expect((await machine.shell('systemctl is-active berthd.service')).stdout.trim()).toBe('failed');
    await machine.must('cp /root/berth.toml /etc/berth/ && systemctl reset-failed && systemctl start berthd.service');
    expect((await srun('--image=small cat /etc/image')).stdout).toBe('small\n');
  });

  it('does without user namespaces', async () => {
    await withConfiguration('[container]\nuserns = "off"\n', async () => {
      expect(await srun('-n2 --image=small cat /etc/image')).toEqual({
        status: 0,
        stdout: 'small\nsmall\n',
        stderr: '',
      });
    });
  });

  it('runs containers without Slurm', async () => {
    const { stdout, stderr } = await machine.shell('cd /home/alice && berth run small cat /etc/image', 'alice');
    expect({ stdout, stderr }).toEqual({ stdout: 'small\n', stderr: '' });
  });
});

describe('upgraded while jobs run, it', () => {
  it('asks nothing, starts again, and no rank notices, neither running ones nor those of that moment', async () => {
    for (const file of [files.berth, files.plugin]) await machine.copyIn(nextRevision(file, directory));
    const before = await daemon();
    const long = srun('-n4 --image=small bash -c "for i in 1 2 3 4 5 6 7 8 9 10; do sleep 1; cat /etc/image; done"');
    await machine.until('berth ps --json | grep -q \'"ranks": 4\'');
    const container = (await containers()).find(({ ranks }) => ranks === 4);
    let upgrading = true;
    const launches: { status: number; stderr: string }[] = [];
    const launching = (async () => {
      while (upgrading) launches.push(await srun('-n2 --overlap --image=small id -u'));
    })();
    await machine.must(`cd /root && ${APT} install --yes --no-install-recommends ./*+next*.deb`);
    upgrading = false;
    await launching;
    expect(launches.length).toBeGreaterThan(2);
    expect(launches.filter(({ status }) => status !== 0)).toEqual([]);
    expect(await machine.must("dpkg-query -W -f '${Version}' berth")).toContain('+next');
    expect((await daemon()).pid).not.toBe(before.pid);
    const now = await containers();
    expect(now.find(({ id }) => id === container?.id)?.ranks).toBe(4);
    const { status, stdout, stderr } = await long;
    expect({ status, stderr }).toEqual({ status: 0, stderr: '' });
    expect(stdout.split('\n').filter((line) => line === 'small')).toHaveLength(40);
  });

  it('takes the same packages again without a change', async () => {
    await machine.must(`cd /root && ${APT} install --yes --reinstall ./*+next*.deb`);
    await machine.must('systemctl is-active berthd.service berthd.socket');
    expect((await srun('--image=small id -u')).stdout.trim()).toBe('1000');
  });
});

describe('removed while a job runs, it', () => {
  it('leaves ranks, pins, images and configuration in peace, and Slurm without the plugin', async () => {
    const job = srun('-n2 --image=small bash -c "sleep 6; cat /etc/image"');
    await machine.until('berth ps --json | grep -q \'"ranks": 2\'');
    await machine.must(`${APT} remove --yes berth`);
    expect(await machine.must('ls /run/berth/containers | wc -l')).not.toBe('0');
    expect((await srun('id -u')).stdout.trim()).toBe('1000');
    expect((await srun('--image=small id -u')).stderr).toContain("unrecognized option '--image=small'");
    const { status, stdout } = await job;
    expect({ status, stdout }).toEqual({ status: 0, stdout: 'small\nsmall\n' });
    expect((await machine.shell('systemctl is-active berthd.service berthd.socket')).stdout).not.toMatch(/^active/m);
    await machine.must(
      'test -s /etc/berth/berth.toml && ls /var/lib/berth/images/sha256/* && test ! -e /run/berth/berthd.sock',
    );
  });

  it('comes back as it was', async () => {
    await machine.must(`cd /root && ${APT} install --yes --no-install-recommends ./*+next*.deb`);
    expect((await srun('--image=small id -u')).stdout.trim()).toBe('1000');
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
    expect((await srun('id -u')).stdout.trim()).toBe('1000');
  });
});
