// Each thing that can break is broken, really, and found by the check for it, with its hint, and by that one only.
import { chmodSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { hostname } from 'node:os';
import { describe } from 'vitest';
import { inOwnMounts, writeSlurmConf } from './helpers/health.js';
import {
  daemon,
  eachWithADaemon,
  isFound,
  NO_CANARY,
  NO_MUNGE,
  path,
  plantPlugin,
  SKIP,
} from './helpers/health-broken.js';

eachWithADaemon();

describe('what is broken about the node', () => {
  isFound([
    {
      what: 'nothing mounted where something has to be',
      found: 'mounts',
      text: /nothing is mounted on .*scratch/,
      hint: /mount it again/,
      prepare: () => {
        mkdirSync(path('scratch'));
        daemon.writeConfig(`${SKIP}mounts = ["${path('scratch')}"]\n`);
        return undefined;
      },
    },
    {
      what: 'a directory that is not even there, said once',
      found: 'mounts',
      text: /^\S+absent is not there$/,
      hint: /mount it again/,
      prepare: () => {
        daemon.writeConfig(`${SKIP}mounts = ["${path('absent')}"]\n`);
        return undefined;
      },
    },
    {
      what: 'a TmpFS that users may not write to',
      found: 'tmp',
      text: /has mode 755, not 1777/,
      hint: /1777/,
      prepare: () => {
        mkdirSync(path('tmpfs'), { mode: 0o755 });
        const plugin = `required ${plantPlugin(() => undefined)}\n`;
        return { env: writeSlurmConf(daemon, `${NO_MUNGE}TmpFS=${path('tmpfs')}\n`, plugin) };
      },
    },
    {
      what: 'a full /dev/shm',
      found: 'dev-shm',
      text: /^0\.0 % of the space under \/dev\/shm/,
      hint: /ended jobs/,
      prepare: () => {
        daemon.writeConfig(NO_CANARY);
        const fill = 'head -c 2m /dev/zero >/dev/shm/large || true';
        return { shell: inOwnMounts(`mount -t tmpfs -o size=1m,mode=1777 full /dev/shm\n${fill}`) };
      },
    },
    {
      what: 'less memory than slurm.conf says',
      found: 'memory',
      text: /and Slurm believes 99999999/,
      hint: /RealMemory/,
      prepare: () => {
        const plugin = `required ${plantPlugin(() => undefined)}\n`;
        const node = `NodeName=${hostname()} RealMemory=99999999\n`;
        return { env: writeSlurmConf(daemon, `${NO_MUNGE}${node}`, plugin) };
      },
    },
    {
      what: 'cgroups that are not mounted',
      found: 'cgroups',
      text: /the controllers freezer are not there/,
      hint: /cgroup_disable/,
      prepare: () => {
        daemon.writeConfig(NO_CANARY);
        const plugin = `required ${plantPlugin(() => undefined)}\n`;
        const env = writeSlurmConf(daemon, `${NO_MUNGE}ProctrackType=proctrack/cgroup\n`, plugin);
        return { env, shell: inOwnMounts('umount --recursive --lazy /sys/fs/cgroup') };
      },
    },
    {
      what: 'munged gone',
      found: 'munge',
      text: /munge.*socket/i,
      hint: /systemctl status munge/,
      prepare: () => {
        const plugin = `required ${plantPlugin(() => undefined)}\n`;
        return { env: writeSlurmConf(daemon, `AuthInfo=socket=${path('munge.socket')}\n`, plugin) };
      },
    },
    {
      what: 'an Oops in the kernel log',
      found: 'kernel-log',
      text: /^Oops, 1 line, last: Oops: 0002 \[#1\] PREEMPT SMP/,
      hint: /dmesg/,
      prepare: () => {
        daemon.writeConfig(NO_CANARY);
        const uptime = Number(readFileSync('/proc/uptime', 'utf8').split(' ')[0]);
        writeFileSync(path('kmsg'), `4,4711,${Math.round(uptime * 1e6)},-;Oops: 0002 [#1] PREEMPT SMP NOPTI\n`);
        return { shell: inOwnMounts(`mount --bind ${path('kmsg')} /dev/kmsg`) };
      },
    },
    {
      what: 'a required network interface that is not there',
      found: 'network-link',
      text: /there is no ib7/,
      hint: /cable/,
      prepare: () => {
        daemon.writeConfig(`${SKIP}links = ["ib7"]\n`);
        return undefined;
      },
    },
    {
      what: "a failure of the site's own program",
      found: 'site-licence',
      text: /^no licence$/,
      hint: /site's own check/,
      prepare: () => {
        mkdirSync(path('health.d'));
        writeFileSync(path('health.d', 'licence'), '#!/bin/sh\necho no licence\nexit 2\n', { mode: 0o755 });
        daemon.writeConfig(`${SKIP}site_checks = "${path('health.d')}"\n`);
        return undefined;
      },
    },
    {
      what: "the site's own rule broken",
      found: 'site-overcommit',
      status: 'warn',
      text: /overcommit_memory is \d+, less than 99/,
      hint: /^sysctl vm\.overcommit_memory/,
      prepare: () => {
        mkdirSync(path('health.d'));
        const rule =
          'file = "/proc/sys/vm/overcommit_memory"\nat_least = 99\nseverity = "warn"\nhint = "sysctl vm.overcommit_memory"\n';
        writeFileSync(path('health.d', 'overcommit.toml'), rule);
        daemon.writeConfig(`${SKIP}site_checks = "${path('health.d')}"\n`);
        return undefined;
      },
    },
    {
      what: "a site's program that others may change",
      found: 'site-open',
      status: 'unknown',
      text: /^not run: others than root may write to /,
      hint: /runs as root/,
      prepare: () => {
        mkdirSync(path('health.d'));
        writeFileSync(path('health.d', 'open'), `#!/bin/sh\ntouch ${path('was-run')}\n`, { mode: 0o755 });
        chmodSync(path('health.d', 'open'), 0o775);
        daemon.writeConfig(`${SKIP}site_checks = "${path('health.d')}"\n`);
        return undefined;
      },
    },
  ]);
});
