/** The step of a job that a process is in. */
export interface Membership {
  readonly jobId: number;
  /** Slurm's numbering, special steps included. */
  readonly stepId: number;
}

/** Steps that have names: slurm.h, SLURM_BATCH_SCRIPT and its like. */
const SPECIAL_STEPS: Readonly<Record<string, number>> = {
  batch: 0xfffffffb,
  extern: 0xfffffffc,
  interactive: 0xfffffffa,
};

/**
 * Where Slurm puts the processes of a job (task/cgroup, proctrack/cgroup, Slurm 22.05 to 25.11): below a cgroup of its own,
 * of version 1 (/slurm/uid_U/job_J/step_S) or 2 (/system.slice/slurmstepd.scope/job_J/step_S); with several slurmd on a
 * host, the node's name is in the first word. Only from the root on: below it, users can have cgroups of theirs, with names
 * of their choice, delegated by systemd.
 */
const CGROUPS = [
  /^\/slurm(?:_[^/]+)?\/uid_(?<uid>\d+)\/job_(?<job>\d+)(?:\/step_(?<step>[^/]+))?(?:\/|$)/,
  /^\/system\.slice\/(?:[^/]+_)?slurmstepd\.scope\/job_(?<job>\d+)(?:\/step_(?<step>[^/]+))?(?:\/|$)/,
];

/**
 * The job's step that a process is in, as the kernel says: nothing of it is the user's word.
 *
 * @param memberships /proc/PID/cgroup of the process (cgroups(7))
 * @param uid whose process it is: nobody else's job is meant
 * @returns undefined for a process outside of any job, and where Slurm uses no cgroups
 */
export function membershipOf(memberships: string, uid: number): Membership | undefined {
  for (const line of memberships.split('\n')) {
    const path = /^\d+:[^:]*:(\/.*)$/.exec(line)?.[1] ?? '';
    const groups = CGROUPS.map((pattern) => pattern.exec(path)?.groups).find((found) => found !== undefined);
    const job = Number(groups?.['job'] ?? 0);
    if (!groups || job === 0 || (groups['uid'] !== undefined && Number(groups['uid']) !== uid)) continue;
    return { jobId: job, stepId: stepNumber(groups['step'] ?? 'extern') };
  }
  return undefined;
}

function stepNumber(name: string): number {
  if (Object.hasOwn(SPECIAL_STEPS, name)) return SPECIAL_STEPS[name] ?? 0;
  return /^\d+$/.test(name) ? Number(name) : (SPECIAL_STEPS['extern'] ?? 0);
}
