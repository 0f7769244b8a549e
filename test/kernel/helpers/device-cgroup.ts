import { execFileSync } from 'node:child_process';
import { mkdirSync, readFileSync, rmdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

/** Device nodes of the machine's own null and zero devices: [major, minor]. */
export const NULL = [1, 3] as const;
export const ZERO = [1, 5] as const;

export function makeDevice(path: string, [major, minor]: readonly [number, number]): string {
  execFileSync('mknod', ['--mode=0666', path, 'c', String(major), String(minor)]);
  return path;
}

/** A cgroup of version 1 as Slurm makes one for a step, in which some devices are denied. */
export class DeviceCgroup {
  private readonly root = devicesController();
  private readonly job: string;
  private readonly step: string;

  /**
   * @param job denied to the whole job
   * @param step denied to the step, beside these
   */
  constructor(job: readonly (readonly [number, number])[], step: readonly (readonly [number, number])[] = []) {
    this.job = join(this.root, `berth-test-${process.pid}`, 'uid_65534', 'job_7');
    this.step = join(this.job, 'step_0');
    mkdirSync(this.step, { recursive: true });
    for (const [major, minor] of job) writeFileSync(join(this.job, 'devices.deny'), `c ${major}:${minor} rwm`);
    for (const [major, minor] of step) writeFileSync(join(this.step, 'devices.deny'), `c ${major}:${minor} rwm`);
  }

  take(pid: number): void {
    writeFileSync(join(this.step, 'cgroup.procs'), String(pid));
  }

  /** Removes it; what is in it goes back to the root. */
  remove(): void {
    const procs = readFileSync(join(this.step, 'cgroup.procs'), 'utf8').split('\n');
    for (const pid of procs) if (pid !== '') writeFileSync(join(this.root, 'cgroup.procs'), pid);
    for (const directory of [this.step, this.job, join(this.job, '..'), join(this.job, '../..')]) rmdirSync(directory);
  }
}

function devicesController(): string {
  const mounts = readFileSync('/proc/self/mountinfo', 'utf8');
  const [, point] = /^\S+ \S+ \S+ \S+ (\S+) [^\n]* - cgroup \S+ \S*\bdevices\b/m.exec(mounts) ?? [];
  if (point === undefined) throw new Error('the devices controller of cgroups version 1 is not mounted');
  return point;
}
