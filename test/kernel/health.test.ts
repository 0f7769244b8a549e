// What hangs, a healthy node, and a berthd that is not there. What is broken: health-berth.test.ts, health-node.test.ts.
import { execFileSync, spawn, spawnSync } from 'node:child_process';
import { copyFileSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { beforeEach, describe, expect, it } from 'vitest';
import { childrenNamed } from './helpers/residue.js';
import { healthOf, news, runHealth } from './helpers/health.js';
import { daemon, eachWithADaemon, healthy, path, silence, SKIP, store } from './helpers/health-broken.js';
import { projectRoot } from './helpers/programs.js';

/** A user who owns nothing. */
const NOBODY = 65_534;

/** On a busy machine it is the limit of the whole check that comes first. */
const NOT_IN_TIME = /^(no answer|stuck: .*) within (4\.)?5 s$/;
const NOT_AGAIN = /^(no answer|stuck) since .* not (asked|started) again$/;

eachWithADaemon();

describe('what hangs', () => {
  it('is a finding in time, is not asked twice, and keeps nothing else from being answered', async () => {
    mkdirSync(path('far'));
    mkdirSync(path('far', 'store'), { mode: 0o700 });
    writeFileSync(daemon.config, readFileSync(daemon.config, 'utf8').replace(store(), path('far', 'store')));
    await daemon.start();
    await silence(path('far'));
    const first = news(healthy, await healthOf(daemon));
    expect(first).toMatchObject([
      { id: 'store-reachable', status: 'fail', text: expect.stringContaining('3 s') as string },
    ]);

    const second = news(healthy, await healthOf(daemon));
    expect(second).toMatchObject([
      { id: 'store-reachable', text: expect.stringContaining('no answer since') as string },
    ]);
    expect(stuckProbes()).toBe(1);
  });

  it('is found among required mounts too', async () => {
    mkdirSync(path('far', 'scratch'), { recursive: true });
    daemon.writeConfig(`${SKIP}[container]\nmounts = ["${path('far', 'scratch')}"]\n`);
    await daemon.start();
    await silence(path('far'));
    expect(news(healthy, await healthOf(daemon))).toMatchObject([{ id: 'mounts', status: 'fail' }]);
  });

  it("holds up nothing but the site's own checks, where they are there", async () => {
    mkdirSync(path('far', 'health.d'), { recursive: true });
    writeFileSync(path('far', 'health.d', 'fine'), '#!/bin/sh\necho fine\n', { mode: 0o755 });
    daemon.writeConfig(`[health]\nsite_checks = "${path('far', 'health.d')}"\n`);
    await daemon.start();
    expect((await healthOf(daemon)).checks.find(({ id }) => id === 'site-fine')?.status).toBe('pass');
    await silence(path('far'));
    expect(news(healthy, await healthOf(daemon))).toMatchObject([
      { id: 'site', status: 'unknown', text: expect.stringMatching(/no answer within 3 s$/) as string },
    ]);
    expect(news(healthy, await healthOf(daemon))).toMatchObject([
      { id: 'site', status: 'unknown', text: expect.stringMatching(/no answer since .* not asked again$/) as string },
    ]);
  });

  it('is waited for once by a program of the site that has others do so, and is that one finding', async () => {
    mkdirSync(path('far'));
    mkdirSync(path('health.d'), { mode: 0o755 });
    const script = (name: string, text: string): void => {
      writeFileSync(path('health.d', name), `#!/bin/sh\n${text}\n`, { mode: 0o755 });
    };
    script('asks', `ls ${path('far', 'asked')}; echo done`);
    script('leaves', `ls ${path('far', 'left')} & sleep 0.2; echo left it; exit 2`);
    daemon.writeConfig(`[health]\nsite_checks = "${path('health.d')}"\n`);
    await daemon.start();
    await silence(path('far'));
    const first = news(healthy, await healthOf(daemon));
    expect(first.filter(({ id }) => id.startsWith('site-'))).toMatchObject([
      { id: 'site-asks', status: 'unknown', text: expect.stringMatching(NOT_IN_TIME) as string },
      { id: 'site-leaves', status: 'fail', text: 'left it' },
    ]);
    const again = await healthOf(daemon);
    expect(again.checks.filter(({ id }) => id.startsWith('site-'))).toMatchObject([
      { id: 'site-asks', text: expect.stringMatching(NOT_AGAIN) as string },
      { id: 'site-leaves', text: expect.stringMatching(NOT_AGAIN) as string },
    ]);
    await sleep(900);
    const blocked = (await healthOf(daemon)).checks.find(({ id }) => id === 'blocked-processes');
    expect(blocked?.text).not.toContain('ls (');
    const waiting = execFileSync('ps', ['-eo', 'stat=,args=']).toString().split('\n');
    expect(waiting.filter((line) => line.includes(`ls ${path('far')}`)).sort()).toEqual([
      expect.stringMatching(/^D.* ls .*\/asked$/) as string,
      expect.stringMatching(/^D.* ls .*\/left$/) as string,
    ]);
  });

  it('shows as a process that waits and cannot be killed', async () => {
    mkdirSync(path('far'));
    daemon.writeConfig('');
    await daemon.start();
    const before = await healthOf(daemon);
    await silence(path('far'));
    const stuck = spawn('stat', [path('far', 'away')], { stdio: 'ignore' });
    await sleep(200);
    stuck.kill('SIGKILL');
    await sleep(100);
    await healthOf(daemon);
    await sleep(900);
    const findings = news(before, await healthOf(daemon));
    expect(findings.map(({ id }) => id)).toEqual(['blocked-processes']);
    expect(findings[0]?.text).toContain(`stat (${stuck.pid ?? 0})`);
  });

  it.each([
    ['a warning, however many processes a user has wait', NOBODY, 'warn'],
    ["a failure when many of root's wait", 0, 'fail'],
  ])('is %s', async (_, uid, status) => {
    mkdirSync(path('far'));
    daemon.writeConfig('');
    await daemon.start();
    const before = await healthOf(daemon);
    await silence(path('far'));
    const waiting = Array.from({ length: 40 }, () =>
      spawn('stat', ['away'], { cwd: path('far'), uid, stdio: 'ignore' }),
    );
    await sleep(500);
    for (const one of waiting) one.kill('SIGKILL');
    await sleep(100);
    await healthOf(daemon);
    await sleep(900);
    expect(news(before, await healthOf(daemon))).toMatchObject([
      { id: 'blocked-processes', status, text: expect.stringContaining('40 processes') as string },
    ]);
  });
});

/** Children of any probe that were killed and did not die. */
function stuckProbes(): number {
  const list = execFileSync('ps', ['-eo', 'stat=,comm=']).toString();
  return list.split('\n').filter((line) => /^D\S* +berth-probe/.test(line)).length;
}

describe('a healthy node', () => {
  beforeEach(async () => {
    await daemon.start();
  });

  it('passes everything that this machine has', () => {
    const findings = healthy.checks.filter(({ status }) => status !== 'pass').map(({ id }) => id);
    // A virtual machine whose clock its host keeps, and a plain user's subordinate ids, which tests bring along.
    expect(['clock', 'subordinate-ids']).toEqual(expect.arrayContaining(findings));
    expect(healthy.checks.length).toBeGreaterThanOrEqual(25);
  });

  it('is answered from earlier results up to the age that was asked for', async () => {
    const time = async (age: string): Promise<string> => {
      const { output } = await runHealth(daemon.socket, '--json', '--max-age', age);
      return (JSON.parse(output) as { time: string }).time;
    };
    const first = await time('0');
    expect(await time('3600')).toBe(first);
    expect(await time('0')).not.toBe(first);
  });

  it('is looked at once for all who ask at the same time', async () => {
    const answers = await Promise.all(Array.from({ length: 20 }, () => runHealth(daemon.socket, '--json', '-m', '0')));
    const times = answers.map(({ output }) => (JSON.parse(output) as { time: string }).time);
    expect(new Set(times).size).toBeLessThanOrEqual(3);
  });

  it('has nothing left of the looking: no process, pin, mount or loop device', async () => {
    await healthOf(daemon);
    const children = (): string => readFileSync(`/proc/${daemon.pid}/task/${daemon.pid}/children`, 'utf8');
    await expect.poll(children).toBe('');
    expect(childrenNamed('berth-probe')).toEqual([]);
    expect(execFileSync('ls', ['-A', path('run', 'containers')]).toString()).toBe('');
    const loops = (): string => execFileSync('losetup', ['--list', '--noheadings', '--output', 'BACK-FILE']).toString();
    await expect.poll(loops).not.toContain('canary.squashfs');
  });

  it('is told in every format, with the exit status that belongs to it', async () => {
    const { output: nagios } = await runHealth(daemon.socket, '--nagios');
    expect(nagios).toMatch(/^BERTH (OK|WARNING) - .* \| failed=0 /);
    const { output: prometheus } = await runHealth(daemon.socket, '--prometheus');
    expect(prometheus).toContain('berth_health_ok 1\n');
    const { output: text } = await runHealth(daemon.socket, '--all');
    expect(text).toMatch(/^pass {4}canary: it ran after \d+ ms$/m);
  });

  it.each([
    [['--jsno'], '--jsno'],
    [['extra'], 'extra'],
    [['--max-age', 'soon'], 'soon'],
    [['--max-age'], '--max-age'],
  ])('explains a wrong command line: %j', async (words, named) => {
    const { status, output } = await runHealth(daemon.socket, ...words);
    expect(status).toBe(2);
    expect(output).toContain('BERTH_USAGE');
    expect(output).toContain(named);
  });

  it('is told to plain users from results up to a minute old', () => {
    copyFileSync(join(projectRoot, 'build', 'bin', 'berth'), path('berth'));
    const ask = (): string => {
      const words = [
        '--reuid=65534',
        '--regid=65534',
        '--clear-groups',
        path('berth'),
        'health',
        '--json',
        '--max-age=0',
      ];
      try {
        return execFileSync('setpriv', [...words, `--socket=${daemon.socket}`]).toString();
      } catch (error) {
        return String((error as { stdout: Buffer }).stdout);
      }
    };
    const times = [ask(), ask()].map((output) => (JSON.parse(output) as { time: string }).time);
    expect(times[0]).toBe(times[1]);
  });

  it('is told to plain users who ask for Slurm too, with a word that Slurm is not told', () => {
    copyFileSync(join(projectRoot, 'build', 'bin', 'berth'), path('berth'));
    const words = ['--reuid=65534', '--regid=65534', '--clear-groups', path('berth'), 'health', '--slurm'];
    const { stdout, stderr } = spawnSync('setpriv', [...words, `--socket=${daemon.socket}`], { encoding: 'utf8' });
    expect(stdout).toMatch(/^\d+ checks: /m);
    expect(stderr).toBe("berth: --slurm is ignored: only root's makes Berth drain or resume the node\n");
  });
});

describe('a berthd that is not there', () => {
  it.each([
    [[], /^fail {4}daemon: berthd does not answer on .*; hint: systemctl status berthd/],
    [['--json'], /"status":"fail","text":"berthd does not answer/],
    [['--nagios'], /^BERTH CRITICAL - daemon: /],
    [['--prometheus'], /^berth_health_status\{check="daemon",family="installation"\} 2$/m],
  ])('is a finding, also with %j', async (words, expected) => {
    const { status, output } = await runHealth(path('nowhere.sock'), ...words);
    expect(status).toBe(2);
    expect(output).toMatch(expected);
    if (words[0] !== '--json') return;
    const { version, time } = JSON.parse(output) as { version: number; time: string };
    expect(version).toBe(1);
    expect(Date.now() - Date.parse(time)).toBeLessThan(60_000);
    expect(new Date(time).toISOString()).toBe(time);
  });

  it('is not what Nagios is told of a wrong command line', async () => {
    expect((await runHealth(path('nowhere.sock'), '--nagios', '--nonsense')).status).toBe(3);
  });
});
