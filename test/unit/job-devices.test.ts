// Which cgroups decide about a job's devices: as Slurm lays them out in both versions.
import { describe, expect, it } from 'vitest';
import { entrancesOf } from '../../src/modules/job-devices.js';

const V1 =
  '30 20 0:26 / /sys/fs/cgroup/devices rw - cgroup cgroup rw,devices\n31 20 0:27 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu\n';
const V2 = '40 20 0:30 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n';

describe('the cgroups that decide about devices', () => {
  it("are the job's in version 1, of all steps alike", () => {
    expect(entrancesOf('5:devices:/slurm/uid_2001/job_7/step_0/task_1\n1:cpu:/x\n', V1)).toEqual([
      [
        '/sys/fs/cgroup/devices/slurm/uid_2001/job_7/cgroup.procs',
        '/sys/fs/cgroup/devices/slurm/uid_2001/job_7/step_0/task_1/cgroup.procs',
      ],
    ]);
  });

  it('are where slurmstepd is in version 2, below the job and in no task', () => {
    const job = '/system.slice/slurmstepd.scope/job_7';
    expect(entrancesOf(`0::${job}/step_0/user/task_1\n`, V2)).toEqual([
      [`/sys/fs/cgroup${job}/step_0/slurm/cgroup.procs`, `/sys/fs/cgroup${job}/step_0/user/task_1/cgroup.procs`],
    ]);
  });

  it("are the process's own without a job", () => {
    expect(entrancesOf('0::/user.slice/user-2001.slice/session-1.scope\n', V2)).toEqual([
      ['/sys/fs/cgroup/user.slice/user-2001.slice/session-1.scope/cgroup.procs'],
    ]);
  });

  it('are both where both versions are mounted, and none where none is', () => {
    expect(entrancesOf('5:devices:/a\n0::/b\n', V1 + V2)).toHaveLength(2);
    expect(entrancesOf('5:devices:/a\n0::/b\n', '')).toEqual([]);
  });
});
