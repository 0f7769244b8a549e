import { describe, expect, it } from 'vitest';
import { membershipOf } from '../../src/launch/membership.js';

const ALICE = 2001;

describe('the job of a process, by its cgroups', () => {
  it.each([
    ['version 1', '4:freezer:/slurm/uid_2001/job_7/step_3/task_0', { jobId: 7, stepId: 3 }],
    ['version 1, several slurmd', '5:memory:/slurm_n1/uid_2001/job_7/step_0', { jobId: 7, stepId: 0 }],
    ['version 1, a batch script', '4:freezer:/slurm/uid_2001/job_7/step_batch', { jobId: 7, stepId: 0xfffffffb }],
    ['version 1, adopted from ssh', '4:cpuset:/slurm/uid_2001/job_7/step_extern', { jobId: 7, stepId: 0xfffffffc }],
    [
      'version 2',
      '0::/system.slice/slurmstepd.scope/job_4294901760/step_1/user/task_2',
      { jobId: 4_294_901_760, stepId: 1 },
    ],
    [
      'version 2, several slurmd, a shell of salloc',
      '0::/system.slice/n1_slurmstepd.scope/job_7/step_interactive/user/task_0',
      { jobId: 7, stepId: 0xfffffffa },
    ],
  ])('is read where Slurm puts its processes: %s', (_, line, expected) => {
    expect(membershipOf(`12:pids:/\n${line}\n1:name=systemd:/init.scope\n`, ALICE)).toEqual(expected);
  });

  it.each([
    ['outside of Slurm', '0::/user.slice/user-2001.slice/session-4.scope'],
    [
      'a cgroup that its user has made and named',
      '0::/user.slice/user-2001.slice/user@2001.service/slurm/uid_2001/job_7/step_0',
    ],
    ['another such', '0::/user.slice/user@2001.service/system.slice/slurmstepd.scope/job_7/step_0'],
    ["another user's job", '4:freezer:/slurm/uid_2002/job_7/step_0'],
    ['no job', '0::/system.slice/slurmstepd.scope/system'],
    ['job 0', '0::/system.slice/slurmstepd.scope/job_0/step_0'],
    ['nothing', ''],
  ])('is none: %s', (_, line) => {
    expect(membershipOf(`${line}\n`, ALICE)).toBeUndefined();
  });
});
