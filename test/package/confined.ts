/**
 * The unit forbids berthd, and what it starts for users, what they do not need. Here is what needs the most, each in the
 * way that jobs have it: a system call, capability or address family too few shows nowhere else.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { beforeAll, expect, it } from 'vitest';
import type { Machine } from './machine.js';

/** Of units: undoes every confinement of berthd.service. An empty list of capabilities would be none at all. */
const UNCONFINED = `[Service]
NoNewPrivileges=no
CapabilityBoundingSet=~
SystemCallFilter=
SystemCallArchitectures=
RestrictAddressFamilies=
RestrictRealtime=no
LockPersonality=no
`;

const REGISTRY = `version: 0.1
storage: { filesystem: { rootdirectory: /var/lib/docker-registry } }
http: { addr: "127.0.0.1:5000" }
`;

/**
 * @param booted has the packages, and an image `small`, whose /etc/image says so.
 */
export function testConfinement(booted: () => Machine): void {
  let machine: Machine;
  beforeAll(() => {
    machine = booted();
  });

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

  /** What `berth health` says of each check, asked anew. */
  async function health(): Promise<Map<string, string>> {
    const { stdout } = await machine.shell('berth health --all --json --max-age 0');
    const { checks } = JSON.parse(stdout) as { checks: { id: string; status: string; text: string }[] };
    return new Map(checks.map(({ id, status, text }) => [id, `${status}: ${text}`]));
  }

  it('has only the rights that it may need, and no way to more', async () => {
    const { pid } = await machine.daemon();
    const status = await machine.must(`cat /proc/${pid}/status`);
    expect(status).toMatch(/^NoNewPrivs:\s1$/m);
    expect(status).toMatch(/^Seccomp:\s2$/m);
    const bounding = BigInt(`0x${/^CapBnd:\s(\w+)$/m.exec(status)?.[1] ?? ''}`);
    // linux/capability.h: CAP_SYS_MODULE, CAP_SYS_RAWIO, CAP_SYS_BOOT, CAP_SYS_TIME.
    for (const number of [16n, 17n, 22n, 25n]) expect((bounding >> number) & 1n).toBe(0n);
  });

  it('makes an image of a file', async () => {
    await machine.must('mksquashfs /root/image /home/alice/small.squashfs -all-root -no-progress -quiet');
    expect(await machine.srun('--image=./small.squashfs cat /etc/image')).toEqual({
      status: 0,
      stdout: 'small\n',
      stderr: '',
    });
  });

  it('has a file served by FUSE, and stops without its server', async () => {
    await withConfiguration('[store]\nfiles = "fuse"\n', async () => {
      const job = machine.srun('--image=./small.squashfs bash -c "sleep 3; cat /etc/image"');
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
      const { status, stdout, stderr } = await machine.srun(
        `--image=small ${volume} bash -c "echo kept >/cache/file; cat /cache/file"`,
      );
      expect({ status, stdout, stderr }).toEqual({ status: 0, stdout: 'kept\n', stderr: '' });
    });
  });

  it('lets users be root in containers that they may write to, with a network of their own', async () => {
    const options = '--image=small --container-remap-root --container-writable --container-unshare=net,ipc,uts';
    expect(await machine.srun(`${options} bash -c "echo changed >/etc/image; cat /etc/image; id -u"`)).toEqual({
      status: 0,
      stdout: 'changed\n0\n',
      stderr: '',
    });
  });

  it('is started in vain with mistakes in its configuration, not often, and serves who waits when they are mended', async () => {
    await machine.must('cp /etc/berth/berth.toml /root/ && echo nonsense >/etc/berth/berth.toml');
    expect((await machine.shell('systemctl restart berthd.service')).status).not.toBe(0);
    expect((await machine.shell('systemctl is-active berthd.service')).stdout.trim()).toBe('failed');
    const begin = await machine.must('date +%s');
    const waiting = machine.srun('--image=small cat /etc/image');
    await sleep(7_000);
    const starts = await machine.must(`journalctl --unit=berthd --since=@${begin} --output=cat | grep -c ^Starting`);
    expect(Number(starts)).toBeGreaterThan(1);
    expect(Number(starts)).toBeLessThan(6);
    await machine.must('cp /root/berth.toml /etc/berth/');
    expect(await waiting).toEqual({ status: 0, stdout: 'small\n', stderr: '' });
  });

  it('does without user namespaces', async () => {
    await withConfiguration('[container]\nuserns = "off"\n', async () => {
      expect(await machine.srun('-n2 --image=small cat /etc/image')).toEqual({
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

  it('pulls an image when a job starts, from a registry', async () => {
    await machine.must(`
      printf '%s' '${REGISTRY}' >/etc/docker/registry/config.yml && systemctl restart docker-registry.service
      mkdir -p /home/alice/.config/containers
      printf '[[registry]]\nlocation = "127.0.0.1:5000"\ninsecure = true\n' >/home/alice/.config/containers/registries.conf`);
    await machine.until('curl --silent --fail http://127.0.0.1:5000/v2/');
    await machine.must(`
      berth export small oci:/root/layout:small
      skopeo copy --quiet --dest-tls-verify=false oci:/root/layout:small docker://127.0.0.1:5000/test/small:1`);
    // As from a submit host without berthd, which would pull it before there is a job.
    const submit = 'mount -t tmpfs none /run/berth && cd /home/alice && exec "$@"';
    const become = 'setpriv --reuid=alice --regid=1000 --init-groups --';
    const srun = 'timeout 50 srun --quiet --image=127.0.0.1:5000/test/small:1 cat /etc/image';
    const { status, stdout, stderr } = await machine.shell(`unshare --mount sh -c '${submit}' sh ${become} ${srun}`);
    expect({ status, stdout, stderr }).toEqual({ status: 0, stdout: 'small\n', stderr: '' });
    expect((await machine.shell('berth images', 'alice')).stdout).toContain('127.0.0.1:5000/test/small:1');
  });

  it('asks which devices a job has, and runs the hooks that their specification wants', async () => {
    const hook =
      '#!/bin/sh\n{ id -u; cat /proc/self/fd/3/etc/image; grep NoNewPrivs /proc/self/status; } >/home/alice/hook\n';
    const specification = {
      cdiVersion: '0.6.0',
      kind: 'vendor.com/card',
      devices: [
        {
          name: '0',
          containerEdits: { deviceNodes: [{ path: '/vendor/card0', hostPath: '/dev/zero' }], env: ['CARD=0'] },
        },
      ],
      containerEdits: { hooks: [{ hookName: 'createContainer', path: '/usr/local/sbin/hook', args: ['hook'] }] },
    };
    await machine.must(`
      printf '${hook}' >/usr/local/sbin/hook && chmod 755 /usr/local/sbin/hook
      mkdir -p /etc/cdi /etc/berth/modules.d
      echo '${JSON.stringify(specification)}' >/etc/cdi/vendor.json
      printf '[cdi]\nkind = "vendor.com/card"\ndevices = "granted"\n' >/etc/berth/modules.d/card.toml`);
    const { status, stdout, stderr } = await machine.srun(
      `--image=small --module=card bash -c 'echo $CARD; stat -c "%F %t:%T" /vendor/card0'`,
    );
    expect({ status, stdout, stderr }).toEqual({ status: 0, stdout: '0\ncharacter special file 1:5\n', stderr: '' });
    expect(await machine.must('cat /home/alice/hook')).toBe('1000\nsmall\nNoNewPrivs:\t1');
    // What the site has put there would survive a purge.
    await machine.must('rm -r /etc/cdi /etc/berth/modules.d/card.toml');
  });

  it('gives users their subordinate ids as root, and saves what they have made', async () => {
    const saving = '--image=small --container-remap-root --container-save=/home/alice/saved.sqsh';
    const change = 'cat /proc/self/uid_map; echo kept >/etc/new; chown 5:7 /etc/new';
    const saved = await machine.srun(`${saving} bash -c "${change}"`);
    expect(saved.stderr).toMatch(/^berth: the container is saved as \/home\/alice\/saved\.sqsh \(\d+ bytes\)\n$/);
    const maps = saved.stdout
      .trim()
      .split('\n')
      .map((line) => line.trim().split(/\s+/));
    expect(maps).toEqual([
      ['0', '1000', '1'],
      ['1', '100000', '65535'],
    ]);
    expect(await machine.must('stat -c "%U %a" /home/alice/saved.sqsh')).toBe('alice 600');
    const look = 'cat /etc/new; stat -c %u:%g /etc/new';
    expect(await machine.srun(`--image=./saved.sqsh --container-remap-root bash -c "${look}"`)).toEqual({
      status: 0,
      stdout: 'kept\n5:7\n',
      stderr: '',
    });
  });

  it('answers over TLS, to those with a token', async () => {
    const argv = '-x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=127.0.0.1';
    await machine.must(`
      mkdir /root/events && cd /root/events && umask 077
      openssl req ${argv} -addext subjectAltName=IP:127.0.0.1 -keyout key -out crt 2>&1
      openssl rand -hex 32 >token`);
    const files = 'tls_cert = "/root/events/crt"\ntls_key = "/root/events/key"\ntoken_file = "/root/events/token"\n';
    await withConfiguration(`[events]\nlisten = "127.0.0.1:9443"\n${files}`, async () => {
      const curl = 'curl --silent --show-error --cacert /root/events/crt --write-out "\\n%{http_code}"';
      const state = async (token: string): Promise<{ code: string; body: string }> => {
        const header = token === '' ? '' : `--header "Authorization: Bearer ${token}"`;
        const [code = '', ...body] = (await machine.must(`${curl} ${header} https://127.0.0.1:9443/v1/state`))
          .split('\n')
          .reverse();
        return { code, body: body.reverse().join('\n') };
      };
      expect((await state('')).code).toBe('401');
      expect((await state('0'.repeat(64))).code).toBe('401');
      const tokens = {
        0: await machine.must('cat /root/events/token'),
        1000: await machine.must('berth token', 'alice'),
      };
      for (const [uid, token] of Object.entries(tokens)) {
        const { code, body } = await state(token);
        expect(code).toBe('200');
        expect(JSON.parse(body)).toMatchObject({ node: 'node', uid: Number(uid) });
      }
    });
  });

  it('finds nothing wrong with the node that only its confinement makes wrong', async () => {
    const directory = '/run/systemd/system/berthd.service.d';
    const confined = await health();
    await machine.must(`
      mkdir -p ${directory} && printf '%s' '${UNCONFINED}' >${directory}/unconfined.conf
      systemctl daemon-reload && systemctl restart berthd.service`);
    try {
      const { pid } = await machine.daemon();
      const status = await machine.must(`cat /proc/${pid}/status`);
      expect(status).toMatch(/^NoNewPrivs:\s0$/m);
      expect(status).toMatch(/^Seccomp:\s0$/m);
      const free = await health();
      const worse = [...confined].filter(([id, text]) => !text.startsWith('pass') && free.get(id)?.startsWith('pass'));
      // All machines and clusters of this host see each other's loop devices, and each calls its store /var/lib/berth.
      expect(worse.filter(([id]) => id !== 'stale-loop-devices')).toEqual([]);
      expect([...free.keys()]).toEqual([...confined.keys()]);
    } finally {
      await machine.must(`rm -r ${directory} && systemctl daemon-reload && systemctl restart berthd.service`);
    }
  });
}
