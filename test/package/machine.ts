/** A Debian 12 machine that systemd runs, in namespaces: with Slurm, ready for Berth's packages to be installed. */
import { execFile, spawn, type ChildProcess } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readdirSync, readFileSync, rmdirSync, writeFileSync } from 'node:fs';
import { cp, mkdir, mkdtemp, rename, rm, symlink, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { tmpdir } from 'node:os';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';
import {
  allowedProcessors,
  listedProcessors,
  lowestProcessor,
  numbersByProcessor,
} from '../cluster/namespace-order.js';

const run = promisify(execFile);
const root = join(import.meta.dirname, '..', '..');

/** What a node of a cluster has besides Berth, and what Berth's packages depend on. */
const PACKAGES = [
  ...['systemd-sysv', 'man-db', 'bash-completion', 'iproute2', 'procps'],
  ...['munge', 'slurmctld', 'slurmd', 'slurm-client'],
  ...['squashfs-tools-ng', 'zstd', 'xz-utils', 'libarchive13', 'libisal2', 'libsquashfs1', 'libssl3', 'libstdc++6'],
  ...['mount', 'e2fsprogs', 'squashfs-tools', 'squashfuse', 'skopeo', 'docker-registry', 'curl', 'openssl'],
];

/** Units that make no sense here, or would change what is the real machine's. */
const MASKED = [
  ...['systemd-tmpfiles-setup-dev.service', 'systemd-sysctl.service', 'systemd-modules-load.service'],
  ...['getty.target', 'apt-daily.timer', 'apt-daily-upgrade.timer', 'e2scrub_all.timer', 'fstrim.timer'],
  ...['dpkg-db-backup.timer', 'man-db.timer', 'systemd-resolved.service', 'systemd-timesyncd.service'],
];

export interface Result {
  readonly status: number;
  readonly stdout: string;
  readonly stderr: string;
}

export class Machine {
  private constructor(
    private readonly directory: string,
    private readonly cgroup: string,
    private readonly supervisor: ChildProcess,
    private readonly pid: number,
  ) {}

  /** Boots a new machine. It has Slurm's daemons running, and no Berth. */
  static async boot(): Promise<Machine> {
    const image = await baseImage();
    const directory = await mkdtemp(join(tmpdir(), 'berth-machine-'));
    const cgroup = join(cgroupRoot(), directory.replace(/.*\//, ''));
    const place = (name: string): string => join(directory, name);
    for (const name of ['lower', 'upper', 'work', 'root', 'scratch']) await mkdir(place(name));
    mkdirSync(cgroup);
    let supervisor: ChildProcess | undefined;
    try {
      await run('mount', ['-t', 'squashfs', '-o', 'loop,ro', image, place('lower')]);
      const overlay = `lowerdir=${place('lower')},upperdir=${place('upper')},workdir=${place('work')}`;
      await run('mount', ['-t', 'overlay', '-o', overlay, 'berth-machine', place('root')]);
      await configure(place('root'));
      const started = await start(directory, cgroup);
      supervisor = started.supervisor;
      const machine = new Machine(directory, cgroup, started.supervisor, started.pid);
      try {
        await machine.until('timeout 5 systemctl is-system-running | grep -E "running|degraded"');
        await machine.until('timeout 5 sinfo --noheader --format=%T | grep -x idle');
      } catch (error) {
        const { stdout } = await machine.shell('timeout 5 journalctl --boot --no-pager | tail -n 40');
        throw new Error(`the machine does not come up; its journal ends with\n${stdout}`, { cause: error });
      }
      return machine;
    } catch (error) {
      if (supervisor) await end(supervisor);
      await cleanUp(directory, cgroup);
      throw error;
    }
  }

  /** Runs a shell script as root or another user, whatever its exit status. */
  async shell(script: string, user = 'root'): Promise<Result> {
    const become = user === 'root' ? [] : ['setpriv', `--reuid=${user}`, '--regid=1000', '--init-groups', '--'];
    const argv = ['-t', String(this.pid), '--all', '--wdns=/', '--', ...become, 'bash', '--norc', '-c', script];
    const env = {
      PATH: '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin',
      HOME: user === 'root' ? '/root' : `/home/${user}`,
      LC_ALL: 'C',
    };
    return new Promise((resolve) => {
      const child = execFile('nsenter', argv, { env, maxBuffer: 1 << 26 }, (error, stdout, stderr) => {
        const status = error === null ? 0 : typeof error.code === 'number' ? error.code : -1;
        resolve({ status, stdout, stderr });
      });
      // Whatever asks a question gets no answer.
      child.stdin?.end();
    });
  }

  /** Runs a shell script that has to succeed, and gives what it wrote. */
  async must(script: string, user = 'root'): Promise<string> {
    const { status, stdout, stderr } = await this.shell(script, user);
    if (status !== 0) throw new Error(`exit status ${status} of\n${script}\n${stdout}${stderr}`);
    return stdout.trim();
  }

  /** Waits for a shell script to succeed. */
  async until(script: string, seconds = 30): Promise<void> {
    const deadline = Date.now() + seconds * 1000;
    for (;;) {
      const { status, stdout, stderr } = await this.shell(script);
      if (status === 0) return;
      if (Date.now() > deadline) throw new Error(`not within ${seconds} s: ${script}\n${stdout}${stderr}`);
      await sleep(100);
    }
  }

  /** Runs srun as alice to its end. */
  srun(words: string): Promise<Result> {
    return this.shell(`cd /home/alice && timeout 50 srun --quiet ${words}`, 'alice');
  }

  /** berthd's process, and its mount namespace. */
  async daemon(): Promise<{ pid: string; mounts: string }> {
    const pid = await this.must('systemctl show --property=MainPID --value berthd');
    return { pid, mounts: await this.must(`readlink /proc/${pid}/ns/mnt`) };
  }

  /** Puts a file into /root. */
  async copyIn(file: string): Promise<void> {
    const target = `/proc/${this.pid}/root/root/${file.replace(/.*\//, '')}`;
    await cp(file, target);
  }

  /** Ends everything that runs in it, and removes it. */
  async stop(): Promise<void> {
    await end(this.supervisor);
    await cleanUp(this.directory, this.cgroup);
  }
}

interface Started {
  readonly supervisor: ChildProcess;
  /** Of systemd, as seen from here. */
  readonly pid: number;
}

/** Starts systemd in new namespaces, in which berthd can pin those of containers (test/cluster/namespace-order.ts). */
async function start(directory: string, cgroup: string): Promise<Started> {
  const place = join(directory, 'root');
  const all = await allowedProcessors();
  const processors = listedProcessors(all);
  const namespaces = ['--mount', '--pid', '--net', '--uts', '--ipc', '--cgroup', '--fork', '--kill-child=KILL'];
  const script = `echo $$ >"$1/cgroup.procs"; shift; exec taskset -c "$@"`;
  for (let attempt = 1; ; attempt++) {
    const processor = numbersByProcessor() ? await lowestProcessor(join(directory, 'scratch'), processors, {}) : all;
    const check = numbersByProcessor() ? [ORDER, ...processors] : [];
    const boot = ['taskset', '-c', all, 'sh', join(import.meta.dirname, 'boot.sh'), place, ...check];
    const argv = ['-c', script, 'sh', cgroup, processor, 'unshare', ...namespaces, ...boot];
    const supervisor = spawn('sh', argv, { stdio: ['ignore', 'ignore', 'inherit'] });
    const pid = await childOf(supervisor);
    if (pid !== undefined) return { supervisor, pid };
    if (attempt === 3) throw new Error('the machine does not boot, or cannot pin namespaces');
  }
}

const ORDER = join(root, 'test', 'cluster', 'namespace-order.sh');

/** Ends a machine's first process, and with it all of them. */
async function end(supervisor: ChildProcess): Promise<void> {
  if (supervisor.exitCode !== null || supervisor.signalCode !== null) return;
  const ended = new Promise((resolve) => supervisor.once('exit', resolve));
  supervisor.kill('SIGKILL');
  await ended;
}

async function cleanUp(directory: string, cgroup: string): Promise<void> {
  for (const name of ['root', 'lower']) {
    const place = join(directory, name);
    // Its processes may take a moment to be gone.
    for (let attempt = 0; attempt < 50 && mounted(place); attempt++) {
      await run('umount', [place]).catch(() => sleep(100));
    }
  }
  await removeCgroups(cgroup);
  await rm(directory, { recursive: true, force: true });
}

function mounted(place: string): boolean {
  return readFileSync('/proc/self/mountinfo', 'utf8').includes(` ${place} `);
}

async function removeCgroups(directory: string): Promise<void> {
  if (!existsSync(directory)) return;
  for (const entry of readdirSync(directory, { withFileTypes: true })) {
    if (entry.isDirectory()) await removeCgroups(join(directory, entry.name));
  }
  for (let attempt = 0; attempt < 50; attempt++) {
    try {
      rmdirSync(directory);
      return;
    } catch {
      await sleep(100);
    }
  }
}

/** Where version 2 of cgroups is mounted. */
function cgroupRoot(): string {
  const line = readFileSync('/proc/self/mountinfo', 'utf8')
    .split('\n')
    .find((one) => one.includes(' - cgroup2 '));
  const [, , , , place] = (line ?? '').split(' ');
  if (place === undefined) throw new Error('cgroup2 is not mounted: systemd needs it');
  return place;
}

/** The process that has become systemd; undefined when there will be none. */
async function childOf(supervisor: ChildProcess): Promise<number | undefined> {
  const parent = supervisor.pid ?? 0;
  for (let attempt = 0; attempt < 200 && supervisor.exitCode === null; attempt++) {
    const path = `/proc/${parent}/task/${parent}/children`;
    const child = existsSync(path) ? readFileSync(path, 'utf8').trim() : '';
    const comm = `/proc/${child}/comm`;
    if (child !== '' && existsSync(comm) && readFileSync(comm, 'utf8').trim() === 'systemd') return Number(child);
    await sleep(50);
  }
  await end(supervisor);
  return undefined;
}

/** The root file system of a node without Berth: made once for a list of packages, in half a minute. */
async function baseImage(): Promise<string> {
  const key = createHash('sha256').update(PACKAGES.join(' ')).digest('hex').slice(0, 12);
  const image = join(root, 'build', 'rootfs', `machine-${key}.squashfs`);
  if (existsSync(image)) return image;
  mkdirSync(dirname(image), { recursive: true });
  const unfinished = `${image}.${process.pid}.squashfs`;
  const options = ['--quiet', '--mode=root', '--variant=apt', '--aptopt=APT::Install-Recommends "false"'];
  try {
    await run('mmdebstrap', [...options, `--include=${PACKAGES.join(',')}`, 'bookworm', unfinished], {
      maxBuffer: 1 << 26,
    });
    await rename(unfinished, image);
    return image;
  } finally {
    await rm(unfinished, { force: true });
  }
}

async function configure(place: string): Promise<void> {
  const write = (path: string, text: string): void => {
    mkdirSync(dirname(join(place, path)), { recursive: true });
    writeFileSync(join(place, path), text);
  };
  write('etc/hostname', 'node\n');
  write('etc/hosts', '127.0.0.1 localhost node\n');
  write('etc/machine-id', '');
  write('etc/systemd/journald.conf.d/test.conf', '[Journal]\nStorage=volatile\nReadKMsg=no\n');
  write('etc/slurm/slurm.conf', SLURM_CONF);
  // Version 2 would be wanted without any hierarchy of version 1, which the real machine may have.
  write('etc/slurm/cgroup.conf', 'CgroupPlugin=cgroup/v1\n');
  for (const unit of MASKED) await symlink('/dev/null', join(place, 'etc/systemd/system', unit));
  await run('chroot', [place, 'useradd', '--uid', '1000', '--user-group', '--create-home', 'alice']);
  await writeFile(join(place, 'etc/subuid'), 'alice:100000:65536\n');
  await writeFile(join(place, 'etc/subgid'), 'alice:100000:65536\n');
}

const SLURM_CONF = `ClusterName=test
SlurmctldHost=node(127.0.0.1)
SlurmUser=slurm
StateSaveLocation=/var/lib/slurm/slurmctld
SlurmdSpoolDir=/var/lib/slurm/slurmd
SlurmctldPidFile=/run/slurmctld.pid
SlurmdPidFile=/run/slurmd.pid
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/linear
SchedulerParameters=batch_sched_delay=0,sched_min_interval=0
SlurmdParameters=config_overrides
ReturnToService=2
MpiDefault=none
MailProg=/bin/true
KillWait=2
NodeName=node NodeAddr=127.0.0.1 CPUs=8 RealMemory=2000
PartitionName=debug Nodes=ALL Default=YES OverSubscribe=FORCE State=UP
`;
