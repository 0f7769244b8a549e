// What a step does in a container, it does as without one. Every test runs the same thing both ways.
import { existsSync } from 'node:fs';
import { constants } from 'node:os';
import { setTimeout as sleep } from 'node:timers/promises';
import { beforeAll, describe, expect, it } from 'vitest';
import { ending, requireCommand } from '../cluster/command.js';
import { configurations, Site } from './site.js';

// Slurm's cgroup plugins want either of the two hierarchies whole. Where the freezer of the first one is, steps have
// cgroups; elsewhere this compares that they have none in both cases.
const FREEZER = '/sys/fs/cgroup/freezer';
const cgroups = existsSync(FREEZER);

let site: Site;
beforeAll(async () => {
  site = await Site.start({
    slurmConf: `TaskPlugin=task/affinity\n${cgroups ? 'ProctrackType=proctrack/cgroup\n' : ''}`,
    slurmFiles: { 'cgroup.conf': 'CgroupPlugin=cgroup/v1\n' },
  });
  return async () => {
    await site.stop();
    for (const { node } of cgroups ? site.configurations : []) {
      await requireCommand(['find', `${FREEZER}/slurm_${node}`, '-depth', '-type', 'd', '-delete']);
    }
  };
});

describe.each(configurations())('with userns = $userns', (configuration) => {
  const { node } = configuration;

  /** Runs a script with $IMAGE as the step's image: once bare, once in a container. */
  async function bothWays(script: string): Promise<{ bare: string[]; contained: string[] }> {
    const run = (image: string): Promise<string[]> =>
      site.lines(configuration, script, { env: { IMAGE: image, LC_ALL: 'C' } });
    return { bare: await run('none'), contained: await run('debian') };
  }

  it.each([
    ['success', 'true', 0],
    ['a status of its own', 'sh -c "exit 7"', 7],
    ['a command its shell does not find', 'sh -c missing', 127],
    ['a program that is not there', 'missing', 2],
    ['a program that cannot be run', '/etc/passwd', 13],
    ['SIGTERM', `sh -c 'kill -TERM $$'`, 128 + constants.signals.SIGTERM],
    ['SIGKILL', `sh -c 'kill -KILL $$'`, 128 + constants.signals.SIGKILL],
    ['a fault', `sh -c 'kill -SEGV $$'`, 128 + constants.signals.SIGSEGV],
  ])('ends with the status of %s', async (_, command, status) => {
    const script = `srun --image=$IMAGE -n1 ${command} 2>/dev/null || echo $?`;
    const { bare, contained } = await bothWays(script);
    expect(contained).toEqual(status === 0 ? [] : [String(status)]);
    expect(contained).toEqual(bare);
  });

  it('ends with the highest status of its ranks', async () => {
    const { bare, contained } = await bothWays(
      'srun --image=$IMAGE -n4 sh -c "exit \\$SLURM_PROCID" 2>/dev/null || echo $?',
    );
    expect(contained).toEqual(['3']);
    expect(contained).toEqual(bare);
  });

  it('has the same standard input, output and error', async () => {
    const { bare, contained } = await bothWays(`
      head -c 3000000 /dev/zero | tr '\\0' 'x' | srun --image=$IMAGE -n1 cat | sha256sum
      echo line | srun --image=$IMAGE -n3 bash -c 'read word; echo "$SLURM_PROCID: $word"' | sort
      echo line | srun --image=$IMAGE -n3 --input=1 bash -c 'read word; echo "$SLURM_PROCID: $word"' | sort
      srun --quiet --image=$IMAGE -n2 --label bash -c 'echo out; echo error >&2' 2>&1 | sort
      srun --image=$IMAGE -n2 --output=out-%t bash -c 'echo $SLURM_PROCID'; cat out-0 out-1`);
    expect(contained).toContain('2: line');
    expect(contained).toEqual(bare);
  });

  it('has a terminal with --pty', async () => {
    // The end of script's own standard input shows as ^@, at whatever moment the terminal echoes it.
    const { bare, contained } = await bothWays(`
      script --quiet --return --command "srun --quiet --pty --image=$IMAGE bash -c 'test -t 0 && test -t 1 && tty && stty -a'" /dev/null |
        sed 's/\\^@//; s,/dev/pts/[0-9]*,a terminal,'`);
    expect(contained.join()).toMatch(/a terminal[^]*speed 38400 baud/);
    expect(contained).toEqual(bare);
  });

  it('has the same environment, besides four variables of Berth', async () => {
    const { bare, contained } = await bothWays(`srun --image=$IMAGE env | sed 's/=.*//' | grep -v '^_$' | sort`);
    const added = contained.filter((name) => !bare.includes(name));
    // With --image=none there is an option to hand on as well.
    expect(added).toEqual(['BERTH_CONTAINER', 'BERTH_IMAGE', 'BERTH_IMAGE_DIGEST', 'SLURM_SPANK_BERTH_PIN']);
    expect(bare.filter((name) => !contained.includes(name))).toEqual([]);
  });

  it('has the same processors, cgroup, limits, umask, priority and directory', async () => {
    await site.write(
      'inherited',
      `#!/bin/bash
      taskset -p $$ | cut -d: -f2
      sed 's/job_[0-9]*/job/' /proc/self/cgroup
      ulimit -a; umask; nice; pwd; cat /proc/self/oom_score_adj`,
    );
    const { bare, contained } = await bothWays(`
      umask 027; ulimit -S -n 1000; mkdir -p deep/er; cd deep/er
      srun --image=$IMAGE -n2 --cpu-bind=map_cpu:1,0 --label ../../inherited | sort`);
    expect(contained.some((line) => line === '0:  2')).toBe(true);
    expect(contained.some((line) => line === '1:  1')).toBe(true);
    if (cgroups) expect(contained.join('\n')).toMatch(`freezer:/slurm_${node}/uid_2001/job/step_0`);
    expect(contained).toEqual(bare);
  });

  it('has in PWD what a bare step has, and never a directory where it is not', async () => {
    const { bare, contained } = await bothWays(`
      mkdir -p deep/er; ln -sfn deep by-link; cd by-link/er
      srun --image=$IMAGE printenv PWD`);
    expect(contained).toEqual(['/home/alice/by-link/er']);
    expect(contained).toEqual(bare);
    // Where Slurm itself changes to the directory, in a container without a user namespace, it knows one more.
    const elsewhere = configuration.userns === 'on' ? '/' : '/tmp';
    const say = 'bash -c "exec printenv PWD"';
    expect(
      await site.lines(
        configuration,
        `srun --image=debian --container-workdir=/usr printenv PWD; srun --image=debian --chdir=/tmp printenv PWD
        srun --image=debian --no-container-mount-home printenv PWD; cd /opt; srun --image=debian ${say}`,
      ),
    ).toEqual(['/usr', '/tmp', elsewhere, '/opt']);
  });

  it('gets the signals of scancel', async () => {
    await site.write(
      'trapping',
      `#!/bin/bash
      trap 'echo rank $SLURM_PROCID got USR1; exit 3' USR1
      touch ready-$SLURM_PROCID
      while :; do sleep 0.02; done`,
    );
    const { bare, contained } = await bothWays(`
      rm -f ready-*
      salloc --quiet bash -c '
        srun --image=$IMAGE -n2 ./trapping 2>/dev/null &
        until [ -e ready-0 ] && [ -e ready-1 ]; do sleep 0.02; done
        scancel --signal=USR1 $SLURM_JOB_ID.0
        wait %1; echo status $?
      ' | sort`);
    expect(contained).toEqual(['rank 0 got USR1', 'rank 1 got USR1', 'status 3']);
    expect(contained).toEqual(bare);
  });

  it('ends by two interrupts of srun', async () => {
    const interrupted = async (image: string): Promise<{ status: number | null; said: string[] }> => {
      const argv = ['srun', '-p', configuration.partition, `--image=${image}`, '-n4', 'sleep', '60'];
      const child = await site.cluster.spawn('login', argv, { user: 'alice' });
      const end = ending(child);
      let output = '';
      child.stderr?.on('data', (chunk: Buffer) => (output += chunk.toString()));
      await runningStep(image === 'none' ? 0 : 4);
      child.kill('SIGINT');
      await sleep(200);
      child.kill('SIGINT');
      const { status } = await end;
      return { status, said: sayings(output) };
    };
    const bare = await interrupted('none');
    const contained = await interrupted('debian');
    expect(bare.said).toContain('srun: sending Ctrl-C to StepId=N.0');
    expect(contained).toEqual(bare);
  });

  /** Waits until the step's programs run; in containers, until there are so many in them. */
  async function runningStep(contained: number): Promise<void> {
    const script = `
      until squeue --noheader --steps --format=%i --partition=${configuration.partition} | grep -q '\\.0$'; do :; done
      until [ ${contained} = 0 ] || berth ps --json | grep -q '"ranks": ${contained}'; do :; done; sleep 0.2`;
    await site.cluster.exec(node, ['sh', '-c', script], { timeout: 20_000 });
  }
});

/** What srun and slurmstepd said, without numbers, times, and whether the job had to wait for its predecessor's end. */
function sayings(output: string): string[] {
  return output
    .replaceAll(/(StepId=|STEP )\d+/g, '$1N')
    .replaceAll(/CANCELLED AT .*/g, '')
    .split('\n')
    .filter((line) => line.trim() !== '' && !line.startsWith('srun: job '))
    .sort();
}
