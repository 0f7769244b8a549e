import { execFile } from 'node:child_process';
import { access, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { BerthError, reasonOf } from '../errors/index.js';
import { devicesExecutable } from '../native/index.js';

/** Milliseconds in which the kernel has said what a job may use. It takes two. */
const TIME_LIMIT = 5_000;

/** Thrown where it depends on the job's devices what a container is to have, and no process of the job is confined yet. */
export class AskedTooEarly extends Error {
  constructor() {
    super("the job's devices are not known before its ranks are there");
  }
}

/** A process of the job. */
export interface JobProcess {
  /** Undefined as long as there is none that Slurm has put into the job's cgroups. */
  readonly pid: number | undefined;
  /** Of the node, for messages. */
  readonly host: string;
}

/**
 * Which device nodes a job may use: Slurm's GRES, as the kernel enforces it. Nothing is believed that a user can say, such as
 * SLURM_STEP_GPUS. `devices.list` of the cgroup does not show what was denied, and the cgroup's programs of version 2 cannot
 * be read: a process that enters the job's cgroup for the moment asks with access(2), which opens nothing.
 */
export class JobDevices {
  readonly #known = new Map<string, boolean>();

  constructor(private readonly process: JobProcess) {}

  /**
   * Of the paths, those of device nodes that the job may read and write.
   *
   * @throws BerthError BERTH_JOB_DEVICES when it cannot be found out; AskedTooEarly
   */
  async granted(paths: readonly string[]): Promise<Set<string>> {
    const unasked = [...new Set(paths)].filter((path) => !this.#known.has(path));
    if (unasked.length > 0) {
      const answers = await this.#ask(unasked);
      for (const [i, path] of unasked.entries()) this.#known.set(path, answers[i] === '1');
    }
    return new Set(paths.filter((path) => this.#known.get(path)));
  }

  async #ask(paths: readonly string[]): Promise<string> {
    const { pid, host } = this.process;
    if (pid === undefined) throw new AskedTooEarly();
    try {
      const [memberships, mounts] = await Promise.all([
        readFile(`/proc/${pid}/cgroup`, 'utf8'),
        readFile('/proc/self/mountinfo', 'utf8'),
      ]);
      const entrances = await firstThatExist(entrancesOf(memberships, mounts));
      const answers = await run([...entrances, '--', ...paths]);
      if (answers.length === paths.length) return answers;
      throw new Error(`berth-devices answered ${answers.length} of ${paths.length} questions`);
    } catch (error) {
      throw new BerthError('BERTH_JOB_DEVICES', { host, why: reasonOf(error) }, { cause: error });
    }
  }
}

/**
 * The files through which a process enters the cgroups that decide about devices: for each, a list of candidates, the best
 * first. They are the job's and not the step's, as all steps share its container.
 *
 * @param memberships /proc/PID/cgroup of a process of the job (cgroups(7))
 * @param mounts /proc/self/mountinfo
 */
export function entrancesOf(memberships: string, mounts: string): string[][] {
  return memberships.split('\n').flatMap((line) => {
    const [, id, controllers, path] = /^(\d+):([^:]*):(\/.*)$/.exec(line) ?? [];
    if (controllers === undefined || path === undefined) return [];
    const unified = id === '0' && controllers === '';
    if (!unified && !controllers.split(',').includes('devices')) return [];
    const root = mountPoint(mounts, unified);
    return root === undefined ? [] : [candidates(path, unified).map((each) => join(root, each, 'cgroup.procs'))];
  });
}

/**
 * Slurm's cgroups are …/uid_N/job_N/step_N for version 1, and …/job_N/step_N/{slurm,user/…} for version 2, where processes
 * are in the leaves alone. What denies devices stands at the job, and at `user`.
 */
function candidates(path: string, unified: boolean): string[] {
  const [, job, step] = /^(.*\/job_\d+)(\/step_[^/]+)?(?:\/|$)/.exec(path) ?? [];
  if (job === undefined) return [path];
  if (!unified) return [job, path];
  return step === undefined ? [path] : [`${job}${step}/slurm`, path];
}

function mountPoint(mounts: string, unified: boolean): string | undefined {
  for (const line of mounts.split('\n')) {
    const [before = '', after = ''] = line.split(' - ');
    const [type, , options = ''] = after.split(' ');
    const point = before.split(' ')[4];
    if (unified ? type === 'cgroup2' : type === 'cgroup' && options.split(',').includes('devices')) return point;
  }
  return undefined;
}

async function firstThatExist(lists: readonly (readonly string[])[]): Promise<string[]> {
  const found: string[] = [];
  for (const list of lists) {
    for (const path of list) {
      if (!(await isThere(path))) continue;
      found.push(path);
      break;
    }
  }
  return found;
}

async function isThere(path: string): Promise<boolean> {
  try {
    await access(path);
    return true;
  } catch {
    return false;
  }
}

function run(argv: readonly string[]): Promise<string> {
  return new Promise((resolve, reject) => {
    const options = { env: {}, cwd: '/', timeout: TIME_LIMIT, killSignal: 'SIGKILL', encoding: 'utf8' } as const;
    execFile(devicesExecutable, argv, options, (error, stdout, stderr) => {
      if (error) reject(new Error(stderr.trim() || error.message, { cause: error }));
      else resolve(stdout);
    });
  });
}
