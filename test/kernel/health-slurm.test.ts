// What Berth asks of Slurm, and when, seen by a scontrol that notes what it is told. Real drains: test/slurm/health.test.ts.
import { copyFileSync, existsSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { daemon, eachWithADaemon, path } from './helpers/health-broken.js';
import { runHealth } from './helpers/health.js';
import { projectRoot } from './helpers/programs.js';

eachWithADaemon();

const IDLE = 'NodeName=n1 State=IDLE ThreadsPerCore=1';

/** A node whose check fails, with draining after the first failure and a scontrol that is this script. */
async function startWith(scontrol: string): Promise<void> {
  mkdirSync(path('bin'));
  writeFileSync(path('bin', 'scontrol'), `#!/bin/sh\necho "$*" >>${path('told')}\n${scontrol}\n`, { mode: 0o755 });
  mkdirSync(path('health.d'));
  writeFileSync(path('health.d', 'bad'), '#!/bin/sh\necho bad\nexit 2\n', { mode: 0o755 });
  daemon.writeConfig(`[health]\ndrain = true\ndrain_after = 1\nsite_checks = "${path('health.d')}"\n`);
  await daemon.start(undefined, { PATH: `${path('bin')}:${process.env['PATH'] ?? ''}` });
}

function told(): string[] {
  return existsSync(path('told')) ? readFileSync(path('told'), 'utf8').trim().split('\n') : [];
}

/** A process by the name of slurmd that runs the health check so many times, as slurmd does. */
function slurmdAsks(times: number): Promise<void> {
  copyFileSync('/bin/sh', path('slurmd'));
  const client = join(projectRoot, 'build', 'bin', 'berth');
  const once = `${client} health --slurm --max-age 0 --socket ${daemon.socket} >/dev/null`;
  const script = Array.from({ length: times }, () => once).join('\nsleep 0.3\n');
  return new Promise((resolve) => {
    execFile(
      path('slurmd'),
      ['-c', `${script}\ntrue`],
      { env: { PATH: '/usr/bin:/bin', SLURMD_NODENAME: 'n1' } },
      () => {
        resolve();
      },
    );
  });
}

describe('Slurm', () => {
  it('is told nothing on the first run of a slurmd, which has not registered yet', async () => {
    await startWith(`echo '${IDLE}'`);
    await slurmdAsks(1);
    await slurmdAsks(1);
    expect(told()).toEqual([]);
  });

  it('is told on the next run', async () => {
    await startWith(`echo '${IDLE}'`);
    await slurmdAsks(2);
    await expect
      .poll(told)
      .toEqual(['--oneliner show node n1', 'update NodeName=n1 State=DRAIN Reason=berth: site-bad: bad']);
  });

  it('is told nothing when a person asks, or by a plain user', async () => {
    await startWith(`echo '${IDLE}'`);
    await runHealth(daemon.socket, '--max-age', '0');
    await runHealth(daemon.socket, '--max-age', '0');
    expect(told()).toEqual([]);
  });

  it('is told to take the node back when the check that it was drained for is there no longer', async () => {
    await startWith(`echo 'NodeName=n1 State=IDLE+DRAIN Reason=berth: site-bad: bad [root@2026-01-01T00:00:00]'`);
    await slurmdAsks(3);
    rmSync(path('health.d', 'bad'));
    await slurmdAsks(2);
    expect(told()).not.toContain('update NodeName=n1 State=UNDRAIN');
    await slurmdAsks(2);
    await expect.poll(told).toContain('update NodeName=n1 State=UNDRAIN');
    await expect.poll(() => daemon.log).toContain('no longer checked: site-bad');
  });

  it("is not told to take the node back while the directory of the site's checks is not mounted", async () => {
    await startWith(`echo 'NodeName=n1 State=IDLE+DRAIN Reason=berth: site-bad: bad [root@2026-01-01T00:00:00]'`);
    await slurmdAsks(2);
    renameSync(path('health.d'), path('elsewhere'));
    await slurmdAsks(5);
    expect(told()).not.toContain('update NodeName=n1 State=UNDRAIN');
    writeFileSync(path('elsewhere', 'bad'), '#!/bin/sh\necho well\n');
    renameSync(path('elsewhere'), path('health.d'));
    await slurmdAsks(3);
    await expect.poll(told).toContain('update NodeName=n1 State=UNDRAIN');
  });

  it('that does not answer keeps nobody waiting, and is not asked again meanwhile', async () => {
    await startWith('exec sleep 600');
    await slurmdAsks(4);
    expect(told()).toEqual(['--oneliner show node n1']);
    await expect.poll(() => daemon.log, { timeout: 15_000 }).toContain('could not be told to Slurm');
  });
});
