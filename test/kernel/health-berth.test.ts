// Each thing that can break is broken, really, and found by the check for it, with its hint, and by that one only.
import { execFileSync } from 'node:child_process';
import { chmodSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { hostname } from 'node:os';
import { dirname } from 'node:path';
import { describe, expect } from 'vitest';
import { inOwnMounts, writeSlurmConf } from './helpers/health.js';
import {
  afterwards,
  daemon,
  eachWithADaemon,
  isFound,
  mount,
  NO_CANARY,
  NO_MUNGE,
  path,
  plantImage,
  plantPlugin,
  SKIP,
  store,
} from './helpers/health-broken.js';
import { program } from './helpers/programs.js';

eachWithADaemon();

describe('what is broken about Berth, the kernel and the store', () => {
  isFound([
    {
      what: 'the socket removed',
      found: 'daemon',
      text: /does not answer .*: connect: No such file/,
      hint: /systemctl status berthd/,
      breakIt: () => {
        rmSync(daemon.socket);
      },
    },
    {
      what: 'a directory of the socket in which others could put theirs',
      found: 'daemon',
      text: /others than root may write to .*: its mode is 0777/,
      hint: /restart berthd\.socket/,
      breakIt: () => {
        chmodSync(dirname(daemon.socket), 0o777);
      },
    },
    {
      what: 'berthd killed',
      found: 'daemon',
      text: /connect: Connection refused/,
      hint: /systemctl status berthd/,
      breakIt: () => daemon.end('SIGKILL'),
    },
    {
      what: 'an invalid configuration',
      found: 'configuration',
      text: /berth\.toml:\d+: .*nonsense/,
      hint: /berth config check/,
      breakIt: () => {
        daemon.writeConfig('nonsense = 1\n');
      },
    },
    {
      what: 'a configuration that berthd has not read yet',
      found: 'configuration',
      status: 'warn',
      text: /changed since berthd started/,
      hint: /restarted/,
      breakIt: () => {
        daemon.writeConfig(`${SKIP}free = 6\n`);
      },
    },
    {
      what: "a site's token that others may read, so that nothing is served over the network",
      found: 'events-address',
      status: 'warn',
      text: /^127\.0\.0\.1:9443 is not served: berthd's log has the reason$/,
      hint: /berth token/,
      prepare: () => {
        const token = path('token');
        writeFileSync(token, 'x'.repeat(32), { mode: 0o644 });
        daemon.writeConfig(`[events]\nlisten = "127.0.0.1:9443"\ntoken_file = "${token}"\n${SKIP}`);
        return {};
      },
    },
    {
      what: 'a plugin of another version of Berth',
      found: 'versions',
      text: /spank_berth\.so is 0\.0\.9/,
      hint: /same version of all packages/,
      prepare: () => {
        const plugin = plantPlugin((bytes, note) => bytes.write('0.0.9\0', note));
        return { env: writeSlurmConf(daemon, NO_MUNGE, `required ${plugin}\n`) };
      },
    },
    {
      what: 'a plugin for another release of Slurm',
      found: 'plugin-slurm',
      text: /was built for Slurm 20\.11, and \d\d\.\d\d is installed/,
      hint: /plugin package for this release/,
      prepare: () => {
        const plugin = plantPlugin((bytes, note) => bytes.writeUInt32LE((20 << 16) | (11 << 8), note + 24));
        return { env: writeSlurmConf(daemon, NO_MUNGE, `required ${plugin}\n`) };
      },
    },
    {
      what: 'a plugin that others may change',
      found: 'plugin',
      text: /others than root may write to .*spank_berth\.so: its mode is 0777/,
      hint: /belongs to root/,
      prepare: () => {
        const plugin = plantPlugin(() => undefined);
        chmodSync(plugin, 0o777);
        return { env: writeSlurmConf(daemon, NO_MUNGE, `required ${plugin}\n`) };
      },
    },
    {
      what: 'a plugstack.conf without the plugin',
      found: 'plugin',
      text: /does not list spank_berth\.so/,
      hint: /line for plugstack\.conf/,
      prepare: () => ({ env: writeSlurmConf(daemon, NO_MUNGE, '# nothing\n') }),
    },
    {
      what: 'user namespaces forbidden by a sysctl',
      found: 'user-namespaces',
      text: /user\.max_user_namespaces = 0/,
      hint: /sysctl/,
      prepare: () => {
        writeFileSync(path('zero'), '0\n');
        return { shell: inOwnMounts(`mount --bind ${path('zero')} /proc/sys/user/max_user_namespaces`) };
      },
    },
    {
      what: 'user namespaces forbidden by the kernel',
      found: 'user-namespaces',
      text: /users cannot make user namespaces: unshare: user namespace: operation not permitted/,
      hint: /userns = "off"/,
      prepare: () => ({ shell: `exec ${program('forbid-userns')} "$@"` }),
    },
    {
      what: 'a kernel without squashfs',
      found: 'kernel-filesystems',
      text: /no squashfs/,
      hint: /package with all modules/,
      prepare: () => {
        const without = readFileSync('/proc/filesystems', 'utf8').replace(/^\tsquashfs\n/m, '');
        writeFileSync(path('filesystems'), without);
        return { shell: inOwnMounts(`mount --bind ${path('filesystems')} /proc/filesystems`) };
      },
    },
    {
      what: 'overlapping subordinate ids',
      found: 'subordinate-ids',
      text: /overlap/,
      hint: /subuid\(5\)/,
      prepare: () => {
        writeFileSync(path('subuid'), 'a:200000:65536\nb:210000:65536\n');
        daemon.writeConfig(NO_CANARY);
        const bind = (file: string): string => `mount --bind ${path('subuid')} ${file}`;
        return { shell: inOwnMounts(`${bind('/etc/subuid')}\n${bind('/etc/subgid')}`) };
      },
    },
    {
      what: 'no loop device to be had',
      found: 'loop-devices',
      text: /no loop device can be had: open: \/dev\/loop\d+: no such file or directory/,
      hint: /losetup --list/,
      prepare: () => ({
        shell: inOwnMounts(`
        dev=${path('dev')}
        mkdir "$dev"
        mount -t tmpfs dev "$dev"
        cp -a /dev/null /dev/zero /dev/random /dev/urandom /dev/kmsg /dev/loop-control "$dev"
        mkdir "$dev/shm"
        mount --bind /dev/shm "$dev/shm"
        mount --move "$dev" /dev`),
      }),
    },
    {
      what: 'a /dev/fuse that users may not open, where files are served by FUSE',
      found: 'fuse',
      text: /users may not open \/dev\/fuse/,
      hint: /package squashfuse/,
      prepare: () => {
        daemon.writeConfig(`files = "fuse"\n${NO_CANARY}`);
        return {
          shell: inOwnMounts(`
        dev=${path('dev')}
        mkdir "$dev"
        mount -t tmpfs dev "$dev"
        mknod -m 600 "$dev/fuse" c 10 229
        mount --bind "$dev/fuse" /dev/fuse`),
        };
      },
    },
    {
      what: 'pins on a shared mount',
      found: 'mount-propagation',
      text: /is a shared mount/,
      hint: /make-private/,
      breakIt: () => execFileSync('mount', ['--make-shared', path('run', 'containers')]),
    },
    {
      what: 'a full store',
      found: 'store-space',
      text: /^0\.0 % of the space/,
      hint: /larger file system/,
      prepare: () => {
        mount(store(), '-t', 'tmpfs', '-o', 'size=1m,mode=700', 'full');
        return undefined;
      },
      breakIt: () => {
        expect(() => {
          writeFileSync(store('large'), Buffer.alloc(2 << 20));
        }).toThrow('ENOSPC');
      },
    },
    {
      what: 'a store without inodes',
      found: 'store-inodes',
      text: /^0\.0 % of the inodes/,
      hint: /small files/,
      prepare: () => {
        mount(store(), '-t', 'tmpfs', '-o', 'nr_inodes=64,mode=700', 'full');
        return undefined;
      },
      breakIt: () => {
        expect(() => {
          for (let i = 0; i < 64; i++) writeFileSync(store(`file-${i}`), '');
        }).toThrow('ENOSPC');
      },
    },
    {
      what: 'a read-only store',
      found: 'store-writable',
      text: /cannot be written to: .*: read-only file system/,
      hint: /read-only/,
      prepare: () => {
        mount(store(), '-t', 'tmpfs', '-o', 'mode=700', 'store');
        return undefined;
      },
      breakIt: () => execFileSync('mount', ['-o', 'remount,ro', store()]),
    },
    {
      what: 'a torn record',
      found: 'store-records',
      text: /debian:12\.json is torn/,
      hint: /anew/,
      breakIt: () => {
        writeFileSync(store('refs', 'site', 'debian:12.json'), '{"name":"debian:12","digest":"sha256:');
      },
    },
    {
      what: 'a record that cannot be read',
      found: 'store-records',
      text: /debian:12\.json cannot be read: illegal operation on a directory/,
      hint: /anew/,
      breakIt: () => {
        mkdirSync(store('refs', 'site', 'debian:12.json'));
      },
    },
    {
      what: 'a damaged image',
      found: 'store-digests',
      text: /not what their names say: .*\.squashfs$/,
      hint: /anew/,
      breakIt: () => plantImage('not what it was', 'a'.repeat(64)),
    },
    {
      what: 'what a killed import left',
      found: 'store-unfinished',
      status: 'warn',
      text: /1 piece of unfinished work/,
      hint: /restart berthd/,
      breakIt: () => {
        const boot = readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').replaceAll('-', '').slice(0, 16);
        mkdirSync(store('tmp', `${hostname()}_${boot}_1_1_${'0'.repeat(16)}`));
      },
    },
    {
      what: 'a pin of no container',
      found: 'stale-containers',
      status: 'warn',
      text: /1 pin of no container: 0123456789ab/,
      hint: /restart berthd/,
      breakIt: () => {
        mkdirSync(path('run', 'containers', '0123456789ab'));
      },
    },
    {
      what: 'a loop device of no container',
      found: 'stale-loop-devices',
      status: 'warn',
      text: /in use by no container: \/dev\/loop\d+/,
      hint: /losetup/,
      breakIt: () => {
        const device = execFileSync('losetup', ['--find', '--show', '--read-only', plantImage('x'.repeat(4096))]);
        afterwards(() => execFileSync('losetup', ['--detach', device.toString().trim()]));
      },
    },
    {
      what: 'a mount of the site that users may not reach',
      found: 'canary',
      text: /BERTH_MOUNT_SOURCE: .*secret/,
      hint: /docs\/errors\.md/,
      prepare: () => {
        mkdirSync(path('closed', 'secret'), { recursive: true, mode: 0o700 });
        chmodSync(path('closed'), 0o700);
        daemon.writeConfig(`${SKIP}[container]\nmounts = ["${path('closed', 'secret')}:/mnt"]\n`);
        return undefined;
      },
    },
  ]);
});
