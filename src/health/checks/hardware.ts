import { join } from 'node:path';
import { reasonOf } from '../../errors/index.js';
import { count, fail, pass, some, unknown, warn, type Check, type Context, type Verdict } from '../check.js';
import { KernelLog, patterns } from '../kernel-log.js';
import { namesIn, readSmall } from '../places.js';
import type { FileContent, ProbeSession, StuckQuestions } from '../probe.js';

/** Corrected memory errors since the node started that a healthy module does not reach. */
const MOST_CORRECTED = 1000;

/**
 * How long, in milliseconds, a process has to wait uninterruptibly, and without ever going on, to be a finding: every disk
 * access is a moment of it.
 */
const BLOCKED_FOR = 800;

/**
 * More of root's than this is a file system or device that has gone, rather than a slow one. Users' do not count: they can
 * have as many wait as they like, by vfork(2) or a FUSE file system of their own, and none shall have a node drained.
 */
const MOST_BLOCKED = 32;

/** pci.ids: vendors of GPUs; PCI class 03xx, display controllers, of which 0300 VGA may be the console's. */
const GPU_VENDORS = new Map([
  ['0x10de', 'NVIDIA'],
  ['0x1002', 'AMD'],
]);

/** What breaks. Files of device drivers are read through the probe: one that hangs takes a child with it, not berthd. */
export const hardwareChecks: readonly Check[] = [
  {
    id: 'memory-errors',
    family: 'hardware',
    reads: '/sys/devices/system/edac/mc/mc*/{ue_count,ce_count}',
    rule: `no uncorrected error; a warning from ${MOST_CORRECTED} corrected ones`,
    matters: 'an uncorrected error has changed data, or ended a job; many corrected ones announce it',
    hint: 'have the memory module replaced; edac-util --verbose tells which',
    run: async ({ places, probe }) => {
      const { files } = await probe.read([join(places.sys, 'devices/system/edac/mc/mc*/[uc]e_count')]);
      if (files.length === 0) return pass('no memory controller reports errors here');
      const sum = (name: string): number => total(files.filter(({ path }) => path.endsWith(name)));
      const [uncorrected, corrected] = [sum('/ue_count'), sum('/ce_count')];
      if (uncorrected > 0) return fail(count(uncorrected, 'uncorrected error'));
      const text = count(corrected, 'corrected error');
      return corrected >= MOST_CORRECTED ? warn(text) : pass(text);
    },
  },
  {
    id: 'kernel-log',
    family: 'hardware',
    reads: '/dev/kmsg, on from where the last run was',
    rule: `nothing of this within [health] kernel_log_hours: ${patterns.map(({ what, severity }) => (severity === 'fail' ? what : `${what} (a warning)`)).join(', ')}`,
    matters: 'a kernel that has stumbled may fall; what it reports of disks and memory is damage',
    hint: 'dmesg has the lines around it; most of these want a reboot, or a technician',
    run: ({ config, places, memory }) => {
      try {
        const log = memory.get('kernel log', () => new KernelLog(places));
        const sightings = log.look(config.health.kernelLogHours);
        const worst = sightings.findLast(({ pattern }) => pattern.severity === 'fail') ?? sightings.at(-1);
        if (!worst) return pass('nothing');
        const { what, severity } = worst.pattern;
        const lines = sightings.filter(({ pattern }) => pattern === worst.pattern).length;
        const others = new Set(sightings.map(({ pattern }) => pattern.what).filter((other) => other !== what));
        const also = others.size > 0 ? `; also ${some([...others])}` : '';
        return {
          status: severity,
          text: `${what}, ${count(lines, 'line')}, last: ${worst.line.slice(0, 160)}${also}`,
        };
      } catch (error) {
        return unknown(reasonOf(error));
      }
    },
  },
  {
    id: 'blocked-processes',
    family: 'hardware',
    reads: 'the state of all processes (/proc/PID/stat), and how often each has gone to sleep',
    rule: `none waits uninterruptibly (D), and has not gone on, since the last run; a failure from ${MOST_BLOCKED} of root's and the kernel's`,
    matters: 'they wait for a disk or server that does not answer, cannot be killed, and hold up the end of their job',
    hint: 'cat /proc/PID/stack tells what for; is a network file system gone?',
    run: (context) => checkBlocked(context),
  },
  {
    id: 'network-link',
    family: 'hardware',
    reads: '/sys/class/net/*/{flags,carrier,device}, [health] links',
    rule: 'links named there have a carrier; a warning for other physical ones that are up without',
    matters: 'jobs over several nodes, and all that is mounted from servers',
    hint: 'ethtool and ip -s link tell more; is the cable in?',
    run: async ({ config, places, probe }) => checkLinks(config.health.links, join(places.sys, 'class/net'), probe),
  },
  {
    id: 'infiniband',
    family: 'hardware',
    reads: '/sys/class/infiniband/*/ports/*/{state,phys_state}',
    rule: 'each device has a port that is ACTIVE; no port is linked up and not ACTIVE',
    matters: 'MPI fails, or falls back to a slower network without a word',
    hint: 'ibstat tells more; does a subnet manager run, and is the cable in?',
    run: async ({ places, probe }) => {
      const directory = join(places.sys, 'class/infiniband');
      const { files } = await probe.read([join(directory, '*/ports/*/state'), join(directory, '*/ports/*/phys_state')]);
      return judgePorts(files);
    },
  },
  {
    id: 'gpus',
    family: 'hardware',
    reads: '/sys/bus/pci/devices/*/{vendor,class}; /proc/driver/nvidia/gpus, /sys/class/drm',
    rule: 'each GPU on the bus is one of its driver too',
    matters: 'jobs that were promised a GPU find it gone',
    hint: 'dmesg | grep -e NVRM -e amdgpu tells why the driver lost it; a fallen-off one needs a reboot',
    run: (context) => checkGpus(context),
  },
];

function total(files: readonly FileContent[]): number {
  return files.reduce((sum, { content }) => sum + (Number(content) || 0), 0);
}

/** Compares with the last run; the first one looks twice, where there is need. */
async function checkBlocked({ probe, memory, stuck }: Context): Promise<Verdict> {
  const before = memory.get('blocked', () => ({ looked: Number.NEGATIVE_INFINITY, seen: new Map<string, number>() }));
  let blocked = await look(probe, stuck);
  const isFirst = before.looked === Number.NEGATIVE_INFINITY;
  note(before, blocked);
  if (isFirst && blocked.length > 0) {
    await new Promise((resolve) => setTimeout(resolve, BLOCKED_FOR));
    blocked = await look(probe, stuck);
    note(before, blocked);
  }
  const now = performance.now();
  const still = blocked.filter((one) => now - (before.seen.get(one) ?? now) >= BLOCKED_FOR);
  if (still.length === 0) return pass(blocked.length === 0 ? 'none' : 'none for long');
  const names = still.map((one) => one.replace(/^(\d+) \d+ \d+ \d+ (.*)$/, '$2 ($1)'));
  const text = `${still.length === 1 ? 'one process' : `${still.length} processes`}: ${some(names)}`;
  const ofRoot = still.filter((one) => one.split(' ')[2] === '0');
  return ofRoot.length >= MOST_BLOCKED ? fail(text) : warn(text);
}

function note(before: { looked: number; seen: Map<string, number> }, blocked: readonly string[]): void {
  before.looked = performance.now();
  for (const one of before.seen.keys()) if (!blocked.includes(one)) before.seen.delete(one);
  for (const one of blocked) if (!before.seen.has(one)) before.seen.set(one, before.looked);
}

/** "PID START UID SWITCHES COMMAND" of each; not of what other checks have started, and tell that they wait for. */
async function look(probe: ProbeSession, stuck: StuckQuestions): Promise<string[]> {
  const output = (await probe.ask('blocked', [])).toString();
  return output.split('\n').filter((line) => {
    const [pid = '', start = ''] = line.split(' ');
    return line !== '' && !stuck.has(Number(pid), start);
  });
}

async function checkLinks(required: readonly string[], directory: string, probe: ProbeSession): Promise<Verdict> {
  const { files } = await probe.read([join(directory, '*/carrier'), join(directory, '*/flags')]);
  const read = (name: string, file: string): string | undefined =>
    files.find(({ path }) => path === join(directory, name, file))?.content?.trim();
  const names = namesIn(directory);
  const missing = required.filter((name) => !names.includes(name));
  // The carrier of a link that is not up cannot be read (EINVAL).
  const dark = names.filter((name) => read(name, 'carrier') !== '1');
  const down = required.filter((name) => names.includes(name) && dark.includes(name));
  if (missing.length > 0) return fail(`there is no ${missing.join(', no ')}`);
  if (down.length > 0) return fail(`no carrier: ${some(down)}`);
  const isUp = (name: string): boolean => (Number(read(name, 'flags')) & 1) === 1;
  const unplugged = dark.filter((name) => namesIn(directory, name, 'device').length > 0 && isUp(name));
  if (unplugged.length > 0) return warn(`up without a carrier: ${some(unplugged)}`);
  return pass(`${count(names.length - dark.length, 'link')} with a carrier`);
}

function judgePorts(files: readonly FileContent[]): Verdict {
  const ports = files
    .filter(({ path }) => path.endsWith('/state'))
    .map(({ path, content }) => {
      const directory = path.slice(0, -'/state'.length);
      const [device = '', , number = ''] = directory.split('/').slice(-3);
      const physical = files.find((file) => file.path === `${directory}/phys_state`)?.content?.trim() ?? '';
      return { name: `${device}/${number}`, device, state: content?.trim() ?? 'unreadable', physical };
    });
  if (ports.length === 0) return pass('none on this node');
  const active = new Set(ports.filter(({ state }) => state.endsWith('ACTIVE')).map(({ device }) => device));
  const faults = ports.filter(
    ({ device, state, physical }) => !state.endsWith('ACTIVE') && (!active.has(device) || physical.endsWith('LinkUp')),
  );
  if (faults.length > 0)
    return fail(some(faults.map(({ name, state, physical }) => `${name} is ${state}, ${physical}`)));
  return pass(`${count(active.size, 'device')} active`);
}

/** In-kernel tables alone: none of this asks the hardware. */
async function checkGpus({ places, probe }: Context): Promise<Verdict> {
  const pci = join(places.sys, 'bus/pci/devices');
  const onBus = namesIn(pci).flatMap((slot) => {
    const vendor = GPU_VENDORS.get(readSmall(pci, slot, 'vendor')?.trim() ?? '');
    const isDisplay = (readSmall(pci, slot, 'class') ?? '').startsWith('0x03');
    return vendor !== undefined && isDisplay ? [{ slot, vendor }] : [];
  });
  if (onBus.length === 0) return pass('none on this node');
  const { files } = await probe.read([
    join(places.proc, 'driver/nvidia/gpus/*/information'),
    join(places.sys, 'class/drm/card*/device/uevent'),
  ]);
  const driven = (slot: string): boolean =>
    files.some(({ path, content = '' }) =>
      path.includes('/nvidia/') ? path.split('/').at(-2) === slot : content.includes(`PCI_SLOT_NAME=${slot}`),
    );
  const lost = onBus.filter(({ slot }) => !driven(slot));
  if (lost.length > 0) return fail(`without a driver: ${some(lost.map(({ slot, vendor }) => `${vendor} at ${slot}`))}`);
  return pass(count(onBus.length, 'GPU'));
}
