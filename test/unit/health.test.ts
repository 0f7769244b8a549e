// Every check's rule on readings that this machine does not have; the real ones are in test/kernel/health.test.ts.
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { parseConfig } from '../../src/config/index.js';
import { Memory, pass, type Check, type Context, type Status } from '../../src/health/check.js';
import { judgeClock } from '../../src/health/checks/slurm.js';
import { parseRule } from '../../src/health/checks/site.js';
import { checks, healthPage } from '../../src/health/index.js';
import { ProbeSession, StuckQuestions } from '../../src/health/probe.js';
import { asJson, asNagios, asPrometheus, asText, type Results } from '../../src/health/report.js';
import { Runner, type Finding } from '../../src/health/run.js';
import { hostlistHas, SlurmFacts } from '../../src/health/slurm-facts.js';

let root: string;
let probe: ProbeSession;
beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 'berth-health-'));
  probe = new ProbeSession(new StuckQuestions());
});
afterEach(() => {
  probe.close();
  rmSync(root, { recursive: true });
});

type Files = Readonly<Record<string, string>>;

/** A node that has just these files, and this berth.toml. */
function nodeWith(files: Files, toml = ''): Context {
  for (const [path, content] of Object.entries(files)) {
    mkdirSync(dirname(join(root, path)), { recursive: true });
    writeFileSync(join(root, path), content);
  }
  const { config, problems } = parseConfig(toml, 'berth.toml');
  expect(problems).toEqual([]);
  const places = { proc: join(root, 'proc'), sys: join(root, 'sys'), dev: join(root, 'dev'), etc: join(root, 'etc') };
  return {
    config,
    configFile: undefined,
    places,
    probe,
    stuck: new StuckQuestions(),
    slurm: SlurmFacts.read([join(root, 'slurm.conf')]),
    containers: () => [],
    memory: new Memory(),
  };
}

function check(id: string): Check {
  const found = checks.find((one) => one.id === id);
  if (!found) throw new Error(`there is no check ${id}`);
  return found;
}

describe('the table of checks', () => {
  it('is what docs/health.md describes', async () => {
    await expect(healthPage()).toMatchFileSnapshot('../../docs/health.md');
  });

  it('has at least 25, each with an id of its own and all that an administrator needs to know', () => {
    expect(checks.length).toBeGreaterThanOrEqual(25);
    expect(new Set(checks.map(({ id }) => id)).size).toBe(checks.length);
    for (const { id, reads, rule, matters, hint } of checks) {
      expect(id).toMatch(/^[a-z]+(-[a-z]+)*$/);
      for (const words of [reads, rule, matters, hint]) expect(words.length).toBeGreaterThan(5);
    }
  });

  it('names only checks that there are as what another needs', () => {
    const ids = checks.map(({ id }) => id);
    for (const { needs = [] } of checks) expect(ids).toEqual(expect.arrayContaining([...needs]));
  });
});

const MOUNTINFO = '1 0 254:0 / / rw shared:1 - ext4 /dev/vda rw\n';
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
      Object.entries(files).map(([path, content]) => [path, content.replace('ROOT', root)]),
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
    writeFileSync(join(root, 'dev/kmsg'), KMSG_OOPS);
    expect((await check('kernel-log').run(context)).text).toContain('1 line,');
    expect((await check('kernel-log').run(context)).text).toContain('1 line,');
  });
});

describe('a run', () => {
  const words = { family: 'site', reads: '', rule: '', matters: '', hint: 'do something' } as const;
  const make = (id: string, run: Check['run'], needs: readonly string[] = []): Check => ({ ...words, id, run, needs });

  it('gives up on a check that does not end, and does not start it again', async () => {
    vi.useFakeTimers();
    try {
      const never = vi.fn(() => new Promise<never>(() => undefined));
      const runner = new Runner();
      const context = nodeWith({});
      const first = runner.run([make('slow', never), make('quick', () => pass('fine'))], context);
      await vi.advanceTimersByTimeAsync(5_001);
      expect(await first).toMatchObject([
        { id: 'slow', status: 'unknown', text: 'stuck: it did not end within 5 s' },
        { id: 'quick', status: 'pass' },
      ]);
      const [second] = await runner.run([make('slow', never)], context);
      expect(second?.text).toMatch(/^stuck since .* not started again$/);
      expect(never).toHaveBeenCalledTimes(1);
    } finally {
      vi.useRealTimers();
    }
  });

  it('does not try what would fail for another reason, nor what needs that', async () => {
    const broken = make('broken', () => ({ status: 'fail', text: 'gone' }));
    const findings = await new Runner().run(
      [make('last', () => pass(''), ['middle']), make('middle', () => pass(''), ['broken']), broken],
      nodeWith({}),
    );
    expect(findings.map(({ id, status, text }) => [id, status, text])).toEqual([
      ['last', 'unknown', 'not tried, because of middle'],
      ['middle', 'unknown', 'not tried, because of broken'],
      ['broken', 'fail', 'gone'],
    ]);
  });

  it('does not know, when a check itself is at fault', async () => {
    const faulty = make('faulty', () => Promise.reject(new Error('no such thing')));
    expect(await new Runner().run([faulty], nodeWith({}))).toMatchObject([
      { status: 'unknown', text: 'no such thing' },
    ]);
  });

  it('lets nothing that was read steer a terminal', async () => {
    const [finding] = await new Runner().run([make('a', () => pass('\x1b[2Jred\nline\u202e'))], nodeWith({}));
    expect(finding?.text).toBe('[2Jred line');
  });
});

describe('a report', () => {
  const finding = (id: string, status: Status, text: string): Finding => ({
    id,
    family: 'store',
    status,
    text,
    hint: status === 'pass' ? '' : 'mend it',
    milliseconds: 1.5,
  });
  const results: Results = {
    node: 'n1',
    time: Date.UTC(2026, 0, 2),
    milliseconds: 12,
    findings: [finding('a', 'pass', 'fine'), finding('b', 'fail', 'x | y'), finding('c', 'unknown', 'dark')],
  };
  const well: Results = { ...results, findings: [finding('a', 'pass', 'fine')] };
  const dark: Results = { ...results, findings: [finding('c', 'unknown', 'dark')] };

  it('as text has a line for each finding, and with --all for each check', () => {
    const short =
      'fail    b: x | y; hint: mend it\nunknown c: dark; hint: mend it\n3 checks: 1 fail, 1 unknown, 1 pass\n';
    expect(asText(results, false)).toEqual({ text: short, exitStatus: 2 });
    expect(asText(results, true).text).toBe(`pass    a: fine\n${short}`);
  });

  it.each([
    [well, 0, 0],
    [dark, 1, 3],
    [results, 2, 2],
  ])('ends with 0, 1 or 2; for Nagios 3 is unknown', (which, status, nagios) => {
    expect([asText, asJson, asPrometheus].map((render) => render(which, false).exitStatus)).toEqual([
      status,
      status,
      status,
    ]);
    expect(asNagios(which).exitStatus).toBe(nagios);
  });

  it('as JSON tells the version of its layout', () => {
    expect(JSON.parse(asJson(results).text)).toMatchObject({
      version: 1,
      node: 'n1',
      status: 'fail',
      time: '2026-01-02T00:00:00.000Z',
      checks: [{ id: 'a' }, { id: 'b', hint: 'mend it' }, { id: 'c' }],
    });
  });

  it('for Nagios is one line with one bar', () => {
    const { text } = asNagios(results);
    expect(text).toBe('BERTH CRITICAL - b: x / y | failed=1 warned=0 unknown=1 time=0.012s\n');
  });

  it('for Prometheus has a sample for each check', () => {
    const { text } = asPrometheus(results);
    expect(text).toContain('berth_health_status{check="b",family="store"} 2\n');
    expect(text).toContain('berth_health_ok 0\n');
    expect(text.split('\n').every((line) => /^$|^# (HELP|TYPE) |^[a-z_]+(\{[^}]*\})? [0-9.]+$/.test(line))).toBe(true);
  });
});

describe('slurm.conf', () => {
  it.each([
    ['n[1-4,7],m', 'n4', true],
    ['n[1-4,7],m', 'n7', true],
    ['n[1-4,7],m', 'm', true],
    ['n[1-4]', 'n5', false],
    ['n[1-4]', 'n04', false],
    ['n[01-12]', 'n07', true],
    ['n[01-12]', 'n7', false],
    ['r[1-2]n[3-4]', 'r2n3', true],
    ['r[1-2]n[3-4]', 'r3n3', false],
    ['n1', 'n10', false],
  ])('%s has %s: %s', (list, host, expected) => {
    expect(hostlistHas(list, host)).toBe(expected);
  });

  it('is read with its includes, comments and continued lines', () => {
    const { slurm } = nodeWith({
      'slurm.conf': 'AuthType=auth/none # not munge\nInclude more.conf\nTaskPlugin=task/affinity,\\\ntask/cgroup\n',
      'more.conf': 'NodeName=n[1-2] RealMemory=5\n',
    });
    expect(slurm?.get('authtype')).toBe('auth/none');
    expect(slurm?.ofNode('n2', 'RealMemory')).toBe('5');
    expect(slurm?.ofNode('n3', 'RealMemory')).toBeUndefined();
  });
});

describe("a site's rule", () => {
  it.each([
    ['files = "/x"', /no key files/],
    ['file = "x"', /absolute/],
    ['file = 1', /to be a string/],
    ['file = "/x"\nseverity = "bad"', /severity/],
    ['file = "/x"\nat_least = "1"', /number/],
    ['file = "/x"\nmatches = "("', /regular expression/i],
  ])('%s is refused', (text, why) => {
    expect(() => parseRule(text)).toThrow(why);
  });
});
