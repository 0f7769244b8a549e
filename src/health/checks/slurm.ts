import { hostname } from 'node:os';
import { join } from 'node:path';
import { Layout } from '../../image/layout.js';
import { fail, pass, warn, type Check, type Context, type Verdict } from '../check.js';
import { readMounts, readSmall, type Places } from '../places.js';
import { ProbeFailure } from '../probe.js';
import type { SlurmFacts } from '../slurm-facts.js';
import { answering } from './store.js';

/** timex.h */
const STA_UNSYNC = 0x40;

/** munge refuses credentials that are older than its TTL, 300 s (munge(7)); a warning well before. Seconds. */
const CLOCK_FAIL = 240;
const CLOCK_WARN = 30;

/** Controllers that Slurm's cgroup plugins use, by the words in slurm.conf that ask for them. */
const CONTROLLERS = { proctrack: 'freezer', affinity: 'cpuset', memory: 'memory' } as const;

/** What Slurm takes for granted on its nodes. */
export const slurmChecks: readonly Check[] = [
  {
    id: 'memory',
    family: 'slurm',
    reads: "MemTotal of /proc/meminfo, and RealMemory of this node's line in slurm.conf",
    rule: 'the node has as much as Slurm believes, unless SlurmdParameters=config_overrides',
    matters: 'Slurm refuses the node when it registers, or gives jobs memory that is not there',
    hint: 'a memory module may have failed: compare dmidecode -t memory; or correct RealMemory',
    run: ({ slurm, places }) => {
      const total = Number(/^MemTotal:\s+(\d+) kB/m.exec(readSmall(places.proc, 'meminfo') ?? '')?.[1] ?? 0) / 1024;
      const believed = Number(slurm?.ofNode(nodeName(), 'RealMemory') ?? 0);
      const text = `${Math.floor(total)} MiB`;
      if (believed === 0) return pass(`${text}; slurm.conf names no RealMemory for this node`);
      if (slurm?.mentions('SlurmdParameters', 'config_overrides')) return pass(`${text}; config_overrides is set`);
      return total < believed ? fail(`${text}, and Slurm believes ${believed}`) : pass(`${text} of ${believed}`);
    },
  },
  {
    id: 'cgroups',
    family: 'slurm',
    reads: 'ProctrackType and TaskPlugin of slurm.conf; the mounted cgroup hierarchies and their controllers',
    rule: "the controllers that slurm.conf's plugins need are there",
    matters: 'without them slurmd does not start, or jobs are not held to what they were given',
    hint: 'mount them (systemd does), or take cgroup_disable= off the kernel command line',
    run: ({ slurm, places }) => checkCgroups(slurm, places),
  },
  {
    id: 'munge',
    family: 'slurm',
    reads: 'munge --no-input, where slurm.conf has AuthType auth/munge (the default)',
    rule: 'it gives a credential within 3 s',
    matters: "without munged nothing of Slurm's on this node is believed",
    hint: 'systemctl status munge; the key is /etc/munge/munge.key, for the user munge alone',
    run: async ({ slurm, probe }) => {
      if (!slurm || (slurm.get('AuthType') ?? 'auth/munge') !== 'auth/munge') return pass('not used on this node');
      const socket = /(?:^|,)socket=([^,]+)/.exec(slurm.get('AuthInfo') ?? '')?.[1];
      const argv = ['munge', '--no-input', ...(socket === undefined ? [] : [`--socket=${socket}`])];
      try {
        const { status, output } = await probe.run(argv);
        return status === 0 && output.startsWith('MUNGE:') ? pass('it gave a credential') : fail(output.trim());
      } catch (error) {
        if (error instanceof ProbeFailure) return fail(`munge: ${error.message}`);
        throw error;
      }
    },
  },
  {
    id: 'clock',
    family: 'slurm',
    reads: "adjtimex(2), and the time that the store's file system gives a file that is written now",
    rule: `synchronised (a warning), and within ${CLOCK_WARN} s of the file server's (a failure from ${CLOCK_FAIL} s)`,
    matters: 'munge refuses what comes from a node whose clock is off, and make(1) builds wrongly',
    hint: 'chronyc tracking, or timedatectl, tells whether the time service runs and reaches its servers',
    run: (context) => checkClock(context),
  },
];

/** Slurm's name for this node, as long as nobody has said otherwise. */
export function nodeName(): string {
  return process.env['SLURMD_NODENAME'] ?? shortHostName();
}

/** The first part of the host's name. */
export function shortHostName(): string {
  return hostname().split('.')[0] ?? '';
}

function checkCgroups(slurm: SlurmFacts | undefined, places: Places): Verdict {
  const needed: string[] = [];
  if (slurm?.get('ProctrackType') === 'proctrack/cgroup') needed.push(CONTROLLERS.proctrack);
  if (slurm?.mentions('TaskPlugin', 'task/cgroup')) needed.push(CONTROLLERS.affinity, CONTROLLERS.memory);
  if (needed.length === 0) return pass('slurm.conf asks for none');
  const mounts = readMounts(places);
  const second = mounts.find(({ type, point }) => type === 'cgroup2' && point === join(places.sys, 'fs/cgroup'));
  const there = second
    ? [...(readSmall(second.point, 'cgroup.controllers') ?? '').trim().split(' '), CONTROLLERS.proctrack]
    : mounts.filter(({ type }) => type === 'cgroup').flatMap(({ superOptions }) => superOptions);
  const missing = needed.filter((controller) => !there.includes(controller));
  if (missing.length > 0) return fail(`the controllers ${missing.join(', ')} are not there`);
  return pass(`version ${second ? 2 : 1}, with ${needed.join(', ')}`);
}

async function checkClock({ config, probe }: Context): Promise<Verdict> {
  const [, status = 0] = (await probe.ask('clock', [])).toString().trim().split(' ').map(Number);
  let ahead = 0;
  // Whether the store can be reached and written to is other checks' business.
  if (typeof (await answering(config.store.path, probe)) !== 'string') {
    try {
      const { temporary } = new Layout(config.store.path);
      ahead = Number((await probe.ask('write', [temporary])).toString()) / 1000;
    } catch (error) {
      if (!(error instanceof ProbeFailure)) throw error;
    }
  }
  return judgeClock(status, ahead);
}

/**
 * @param status of adjtimex(2)
 * @param ahead seconds by which the file server's clock is ahead of this node's
 */
export function judgeClock(status: number, ahead: number): Verdict {
  const off = Math.abs(ahead);
  const text = `${off.toFixed(0)} s ${ahead > 0 ? 'behind' : 'ahead of'} the file server of the store`;
  if (off >= CLOCK_FAIL) return fail(text);
  if (off >= CLOCK_WARN) return warn(text);
  if ((status & STA_UNSYNC) !== 0) return warn('the kernel knows of nobody who keeps it right');
  return pass('synchronised');
}
