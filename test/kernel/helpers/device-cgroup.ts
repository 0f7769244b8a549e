import { execFileSync } from 'node:child_process';
import { mkdirSync, readFileSync, rmdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { program } from './programs.js';

/** Major and minor number. */
export type DeviceNumber = readonly [number, number];

/** The machine's own null and zero devices. */
export const NULL: DeviceNumber = [1, 3];
export const ZERO: DeviceNumber = [1, 5];

export function makeDevice(path: string, [major, minor]: DeviceNumber): string {
  execFileSync('mknod', ['--mode=0666', path, 'c', String(major), String(minor)]);
  return path;
}

/** Cgroups as Slurm makes them for a step, in which some devices are denied. */
export interface DeviceCgroup {
  /** Puts a process where a rank of the step would be. */
  readonly take: (pid: number) => void;
  /** Removes them; what is in them goes back to the root. */
  readonly remove: () => void;
}

/**
 * @param job devices that are denied to the whole job
 * @param step devices that are denied to the step's ranks, beside these
 */
export type MakeCgroup = (job: readonly DeviceNumber[], step?: readonly DeviceNumber[]) => DeviceCgroup;

/** Of version 1: …/uid_N/job_N/step_N. */
export const cgroupOfVersion1: MakeCgroup = (job, step = []) => {
  const root = mountPoint(/ - cgroup \S+ \S*\bdevices\b/);
  const deny = (directory: string, [major, minor]: DeviceNumber): void =>
    writeFileSync(join(directory, 'devices.deny'), `c ${major}:${minor} rwm`);
  const top = join(root, `berth-test-${process.pid}`);
  const ofUser = join(top, 'uid_65534');
  const ofJob = join(ofUser, 'job_7');
  const ofStep = join(ofJob, 'step_0');
  mkdirSync(ofStep, { recursive: true });
  for (const device of job) deny(ofJob, device);
  for (const device of step) deny(ofStep, device);
  return cgroup(root, ofStep, [ofStep, ofJob, ofUser, top]);
};

/** Of version 2: …/job_N/step_N/{slurm,user/task_N}. */
export const cgroupOfVersion2: MakeCgroup = (job, step = []) => {
  const root = mountPoint(/ - cgroup2 /);
  const deny = (directory: string, device: DeviceNumber): unknown =>
    execFileSync(program('deny-device'), [directory, ...device.map(String)]);
  const top = join(root, `berth-test-${process.pid}`);
  const ofJob = join(top, 'job_7');
  const ofStep = join(ofJob, 'step_0');
  const slurm = join(ofStep, 'slurm');
  const ofRanks = join(ofStep, 'user');
  const task = join(ofRanks, 'task_0');
  mkdirSync(slurm, { recursive: true });
  mkdirSync(task, { recursive: true });
  for (const device of job) deny(ofJob, device);
  for (const device of step) deny(ofRanks, device);
  return cgroup(root, task, [task, ofRanks, slurm, ofStep, ofJob, top]);
};

function cgroup(root: string, ofRank: string, directories: readonly string[]): DeviceCgroup {
  const procs = join(ofRank, 'cgroup.procs');
  return {
    take: (pid) => writeFileSync(procs, String(pid)),
    remove: () => {
      for (const pid of readFileSync(procs, 'utf8').split('\n'))
        if (pid !== '') writeFileSync(join(root, 'cgroup.procs'), pid);
      for (const directory of directories) rmdirSync(directory);
    },
  };
}

function mountPoint(kind: RegExp): string {
  const line = readFileSync('/proc/self/mountinfo', 'utf8')
    .split('\n')
    .find((each) => kind.test(each));
  if (line === undefined) throw new Error(`no cgroups are mounted that fit ${kind.source}`);
  return line.split(' ')[4] ?? '';
}
