// Every check's rule on readings that this machine does not have; the real ones are in test/kernel/health.test.ts.
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it, vi } from 'vitest';
import type { Check, Status } from '../../src/health/check.js';
import { judgeClock } from '../../src/health/checks/slurm.js';
import { checks } from '../../src/health/index.js';
import { madeUpNodes, type Files } from './health-node.js';

const { root, nodeWith } = madeUpNodes();

function check(id: string): Check {
  const found = checks.find((one) => one.id === id);
  if (!found) throw new Error(`there is no check ${id}`);
  return found;
}

const MOUNTINFO = '1 0 254:0 / / rw shared:1 - ext4 /dev/vda rw\n';
const PINS = '2 1 0:9 / /run/berth/containers rw - tmpfs tmpfs rw\n';
const KMSG_OOPS = '4,812,5000000,-;BUG: unable to handle page fault for address: 00000000deadbeef\n';
const NODES = 'NodeName=DEFAULT RealMemory=1000\nNodeName=n[1-4],other RealMemory=64000\n';

interface Row {
  readonly id: string;
  readonly of: string;
  readonly files: Files;
  readonly toml?: string;
  readonly status: Status;
  readonly text?: RegExp;
}

const rows: readonly Row[] = [
  {
    id: 'kernel-filesystems',
    of: 'a kernel without squashfs',
    files: { 'proc/filesystems': 'nodev\toverlay\n\terofs\n' },
    status: 'fail',
    text: /no squashfs/,
  },
  {
    id: 'kernel-filesystems',
    of: 'a kernel without erofs',
    files: { 'proc/filesystems': 'nodev\toverlay\n\tsquashfs\n' },
    status: 'warn',
  },
  {
    id: 'idmapped-mounts',
    of: 'Linux 5.14',
    files: { 'proc/sys/kernel/osrelease': '5.14.0-503.el9.x86_64\n' },
    status: 'fail',
    text: /older than 5\.18/,
  },
  {
    id: 'idmapped-mounts',
    of: 'Linux 5.14 without user namespaces',
    files: { 'proc/sys/kernel/osrelease': '5.14.0-503.el9.x86_64\n' },
    toml: '[container]\nuserns = "off"\n',
    status: 'pass',
  },
  {
    id: 'subordinate-ids',
    of: 'overlapping ranges',
    files: { 'etc/subuid': 'a:100000:65536\nb:165535:65536\n', 'etc/subgid': 'a:100000:65536\n' },
    status: 'fail',
    text: /"a:100000:65536" and "b:165535:65536" overlap/,
  },
  {
    id: 'subordinate-ids',
    of: "a range with the node's own users",
    files: { 'etc/subuid': 'a:1000:65536\n', 'etc/subgid': 'a:100000:65536\n' },
    status: 'fail',
    text: /ids of the node's own/,
  },
  {
    id: 'subordinate-ids',
    of: 'ranges side by side',
    files: { 'etc/subuid': 'a:100000:65536\nb:165536:65536\n', 'etc/subgid': 'a:100000:65536\n' },
    status: 'pass',
  },
  {
    id: 'mount-propagation',
    of: 'pins on a shared mount',
    files: { 'proc/self/mountinfo': `${MOUNTINFO}2 1 0:9 / /run/berth/containers rw shared:7 - tmpfs tmpfs rw\n` },
    status: 'fail',
    text: /shared mount/,
  },
  {
    id: 'mount-propagation',
    of: 'autofs on a private mount',
    files: {
      'proc/self/mountinfo':
        '1 0 254:0 / / rw - ext4 /dev/vda rw\n2 1 0:9 / /run/berth/containers rw - tmpfs tmpfs rw\n3 1 0:5 / /home rw - autofs auto.home rw\n',
    },
    status: 'warn',
    text: /\/home/,
  },
  {
    id: 'mount-propagation',
    of: 'autofs on shared mounts, or slaves of such',
    files: {
      'proc/self/mountinfo': `${MOUNTINFO}${PINS}3 1 0:5 / /home rw shared:9 - autofs auto.home rw\n4 1 0:6 / /data rw master:8 - autofs auto.data rw\n`,
    },
    status: 'pass',
  },
  {
    id: 'mount-propagation',
    of: "systemd's autofs for binfmt_misc, which no container needs",
    files: {
      'proc/self/mountinfo': `${MOUNTINFO}${PINS}3 1 0:5 / /proc rw - proc proc rw\n4 3 0:6 / /proc/sys/fs/binfmt_misc rw - autofs systemd-1 rw\n`,
    },
    status: 'pass',
  },
  {
    id: 'read-only-filesystems',
    of: 'a disk that the kernel has made read-only',
    files: { 'proc/self/mountinfo': `${MOUNTINFO}2 1 8:1 / /scratch rw - xfs /dev/sda1 ro\n` },
    status: 'fail',
    text: /\/scratch/,
  },
  {
    id: 'read-only-filesystems',
    of: 'a disk that was mounted read-only',
    files: { 'proc/self/mountinfo': `${MOUNTINFO}2 1 8:1 / /opt ro - xfs /dev/sda1 ro\n` },
    status: 'pass',
  },
  {
    id: 'memory',
    of: 'less memory than Slurm believes',
    files: { 'proc/meminfo': 'MemTotal:       32000000 kB\n', 'slurm.conf': NODES },
    status: 'fail',
    text: /31250 MiB, and Slurm believes 64000/,
  },
  {
    id: 'memory',
    of: 'the same with config_overrides',
    files: { 'proc/meminfo': 'MemTotal: 32000000 kB\n', 'slurm.conf': `SlurmdParameters=config_overrides\n${NODES}` },
    status: 'pass',
  },
  {
    id: 'cgroups',
    of: 'a missing controller',
    files: {
      'slurm.conf': 'ProctrackType=proctrack/cgroup\nTaskPlugin=task/cgroup,task/affinity\n',
      'proc/self/mountinfo': `${MOUNTINFO}2 1 0:9 / ROOT/sys/fs/cgroup rw - cgroup2 cgroup2 rw\n`,
      'sys/fs/cgroup/cgroup.controllers': 'cpuset cpu io pids\n',
    },
    status: 'fail',
    text: /memory/,
  },
  {
    id: 'cgroups',
    of: 'version 1 with all of them',
    files: {
      'slurm.conf': 'ProctrackType=proctrack/cgroup\nTaskPlugin=task/cgroup\n',
      'proc/self/mountinfo':
        '1 0 0:1 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n2 0 0:2 / /sys/fs/cgroup/f rw - cgroup cgroup rw,freezer\n3 0 0:3 / /sys/fs/cgroup/c rw - cgroup cgroup rw,cpuset\n',
    },
    status: 'pass',
  },
  {
    id: 'memory-errors',
    of: 'an uncorrected error',
    files: { 'sys/devices/system/edac/mc/mc0/ue_count': '1\n', 'sys/devices/system/edac/mc/mc0/ce_count': '4\n' },
    status: 'fail',
    text: /1 uncorrected error$/,
  },
  {
    id: 'memory-errors',
    of: 'many corrected errors, on two controllers',
    files: { 'sys/devices/system/edac/mc/mc0/ce_count': '600\n', 'sys/devices/system/edac/mc/mc1/ce_count': '400\n' },
    status: 'warn',
    text: /1000 corrected/,
  },
  {
    id: 'kernel-log',
    of: 'an Oops',
    files: { 'dev/kmsg': KMSG_OOPS, 'proc/uptime': '60.0 1.0\n' },
    status: 'fail',
    text: /kernel bug, 1 line, last: BUG: unable/,
  },
  {
    id: 'kernel-log',
    of: 'a fault among what is less: as many lines as are of it, and what else there is',
    files: {
      'dev/kmsg': [
        '6,1,5000000,-;INFO: task kworker/0:1:7 blocked for more than 120 seconds.\n',
        '1,2,5000000,-;Oops: 0002 [#1] PREEMPT SMP\n',
        '3,3,5000000,-;I/O error, dev sda, sector 8 op 0x0:(READ)\n',
        '3,4,5000000,-;I/O error, dev sda, sector 16 op 0x0:(READ)\n',
      ].join(''),
      'proc/uptime': '60.0 1.0\n',
    },
    status: 'fail',
    text: /^Oops, 1 line, last: Oops: 0002 \[#1\] PREEMPT SMP; also hung task, disk error$/,
  },
  {
    id: 'kernel-log',
    of: 'an Oops of the day before yesterday',
    files: { 'dev/kmsg': KMSG_OOPS, 'proc/uptime': '172800.0 1.0\n' },
    status: 'pass',
  },
  {
    id: 'kernel-log',
    of: 'what a program wrote there',
    files: { 'dev/kmsg': KMSG_OOPS.replace(/^4/, '12'), 'proc/uptime': '60.0 1.0\n' },
    status: 'pass',
  },
  {
    id: 'kernel-log',
    of: 'a fault of a program whose name looks like a line of the kernel',
    files: {
      'dev/kmsg':
        '6,1,5000000,-;Oops: 0000 [#1][4711]: segfault at 0 ip 0 sp 0 error 4\n6,2,5000000,-;BUG: unable to [4711]: segfault at 0\n',
      'proc/uptime': '60.0 1.0\n',
    },
    status: 'pass',
  },
  {
    id: 'network-link',
    of: 'a required link without a carrier',
    files: { 'sys/class/net/ib0/carrier': '0\n', 'sys/class/net/ib0/flags': '0x1003\n' },
    toml: '[health]\nlinks = ["ib0"]\n',
    status: 'fail',
    text: /no carrier: ib0/,
  },
  {
    id: 'network-link',
    of: 'a required link that is not there',
    files: { 'sys/class/net/lo/carrier': '1\n' },
    toml: '[health]\nlinks = ["ib0"]\n',
    status: 'fail',
    text: /there is no ib0/,
  },
  {
    id: 'network-link',
    of: 'another that is up without a carrier',
    files: {
      'sys/class/net/eth1/carrier': '0\n',
      'sys/class/net/eth1/flags': '0x1003\n',
      'sys/class/net/eth1/device/vendor': '0x8086\n',
    },
    status: 'warn',
    text: /eth1/,
  },
  {
    id: 'infiniband',
    of: 'a device without an active port',
    files: {
      'sys/class/infiniband/mlx5_0/ports/1/state': '2: INIT\n',
      'sys/class/infiniband/mlx5_0/ports/1/phys_state': '5: LinkUp\n',
    },
    status: 'fail',
    text: /mlx5_0\/1 is 2: INIT, 5: LinkUp/,
  },
  {
    id: 'infiniband',
    of: 'a second port that is not used',
    files: {
      'sys/class/infiniband/mlx5_0/ports/1/state': '4: ACTIVE\n',
      'sys/class/infiniband/mlx5_0/ports/1/phys_state': '5: LinkUp\n',
      'sys/class/infiniband/mlx5_0/ports/2/state': '1: DOWN\n',
      'sys/class/infiniband/mlx5_0/ports/2/phys_state': '3: Disabled\n',
    },
    status: 'pass',
  },
  {
    id: 'gpus',
    of: 'one that its driver has lost',
    files: {
      'sys/bus/pci/devices/0000:17:00.0/vendor': '0x10de\n',
      'sys/bus/pci/devices/0000:17:00.0/class': '0x030200\n',
      'sys/bus/pci/devices/0000:65:00.0/vendor': '0x10de\n',
      'sys/bus/pci/devices/0000:65:00.0/class': '0x030200\n',
      'proc/driver/nvidia/gpus/0000:17:00.0/information': 'Model: \t\t NVIDIA H100\n',
    },
    status: 'fail',
    text: /NVIDIA at 0000:65:00\.0/,
  },
  {
    id: 'gpus',
    of: 'another vendor, with its driver',
    files: {
      'sys/bus/pci/devices/0000:c1:00.0/vendor': '0x1002\n',
      'sys/bus/pci/devices/0000:c1:00.0/class': '0x038000\n',
      'sys/class/drm/card0/device/uevent': 'DRIVER=amdgpu\nPCI_SLOT_NAME=0000:c1:00.0\n',
    },
    status: 'pass',
    text: /1 GPU$/,
  },
];

describe('a check of readings', () => {
  it.each(rows)('$id: $of is $status', async ({ id, files, toml, status, text }) => {
    vi.stubEnv('SLURMD_NODENAME', 'n3');
    const inRoot = Object.fromEntries(
      Object.entries(files).map(([path, content]) => [path, content.replace('ROOT', root())]),
    );
    const verdict = await check(id).run(nodeWith(inRoot, toml));
    vi.unstubAllEnvs();
    expect(verdict).toMatchObject({ status, text: expect.stringMatching(text ?? /./) as string });
  });

  it.each([
    [0, 0, 'pass'],
    [0x40, 0, 'warn'],
    [0, 31, 'warn'],
    [0, -241, 'fail'],
    [0x40, 3600, 'fail'],
  ] as const)('clock: status %i, file server %i s ahead is %s', (status, ahead, expected) => {
    expect(judgeClock(status, ahead).status).toBe(expected);
  });

  it('kernel-log goes on from where it was, and remembers what it saw', async () => {
    const context = nodeWith({ 'dev/kmsg': '', 'proc/uptime': '60.0 1.0\n' });
    expect((await check('kernel-log').run(context)).status).toBe('pass');
    writeFileSync(join(root(), 'dev/kmsg'), KMSG_OOPS);
    expect((await check('kernel-log').run(context)).text).toContain('1 line,');
    expect((await check('kernel-log').run(context)).text).toContain('1 line,');
  });
});
