// Slurm's HealthCheckProgram drains and resumes nodes, and keeps its hands off what is not Berth's.
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { tmpdir } from 'node:os';
import { afterEach, beforeAll, describe, expect, it } from 'vitest';
import { Cluster, type NodeState } from '../cluster/cluster.js';
import { artifacts } from '../cluster/layout.js';
import { expectNothingLeft } from './leftovers.js';

// The loop devices of all clusters on this machine look alike: each of their nodes calls its store /var/lib/berth.
const BERTH_CONFIG = `[health]
drain = true
drain_after = 3
resume_after = 3
skip = ["clock", "blocked-processes", "kernel-log", "stale-loop-devices"]
`;

/**
 * A check of the site's: fails while there is a file that says how. "flap" is every other time. Counts how often it is
 * asked.
 */
const SITE_CHECK = `#!/bin/sh
cd /run/berth
count=$(($(cat count 2>/dev/null || echo 0) + 1))
echo $count >count
case $(cat broken 2>/dev/null) in
yes) echo broken on purpose; exit 2 ;;
flap) [ $((count % 2)) = 0 ] || { echo broken for a moment; exit 2; } ;;
esac
echo fine
`;

const berth = `${artifacts.programs}/berth`;

/** Slurm asks every other second here (asking every second, 22.05 forgets to ping), and wants to know how things are now. */
const HEALTH_CHECK = `#!/bin/sh
exec ${berth} health --slurm --max-age 0
`;

let cluster: Cluster;
let directory: string;
beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), 'berth-slurm-'));
  cluster = await Cluster.up({
    dir: join(directory, 'cluster'),
    nodes: 2,
    berthConfig: BERTH_CONFIG,
    slurmConf: 'HealthCheckProgram=/etc/berth/health-check\nHealthCheckInterval=2\nHealthCheckNodeState=ANY\n',
    slurmFiles: {},
  });
  const checks = join(cluster.layout.berthEtc, 'health.d');
  await mkdir(checks);
  await writeFile(join(checks, 'purpose'), SITE_CHECK, { mode: 0o755 });
  await writeFile(join(cluster.layout.berthEtc, 'health-check'), HEALTH_CHECK, { mode: 0o755 });
  return async () => {
    try {
      await expectNothingLeft(cluster);
    } finally {
      await cluster.down();
      await rm(directory, { recursive: true, force: true });
    }
  };
});
afterEach(async () => {
  await shell('n1', 'rm -f /run/berth/broken');
  await slurm('scontrol update NodeName=n1,n2 State=RESUME || true');
});

async function shell(host: string, script: string): Promise<string> {
  const { status, stdout, stderr } = await cluster.exec(host, ['sh', '-c', script], { timeout: 60_000 });
  if (status !== 0) throw new Error(`${script}: ${stdout}${stderr}`);
  return stdout.trim();
}

const slurm = (script: string): Promise<string> => shell('login', script);

/** How often Slurm has asked. */
const asked = async (): Promise<number> => Number(await shell('n1', 'cat /run/berth/count 2>/dev/null || echo 0'));

/** Waits until Slurm has asked this often more. */
async function checked(times: number): Promise<void> {
  const until = (await asked()) + times;
  await expect.poll(asked, { timeout: 60_000, interval: 200 }).toBeGreaterThanOrEqual(until);
}

async function stateOf(node: string): Promise<NodeState & { isDrained: boolean }> {
  const state = await cluster.nodeState(node);
  return { ...state, isDrained: state.flags.includes('DRAIN') };
}

function isDrained(node: string): Promise<void> {
  return expect.poll(async () => (await stateOf(node)).isDrained, { timeout: 60_000, interval: 200 }).toBe(true);
}

function isResumed(node: string): Promise<void> {
  return expect.poll(async () => (await stateOf(node)).isDrained, { timeout: 60_000, interval: 200 }).toBe(false);
}

/** What its berthd tells a plain user. */
async function eventsOf(host: string): Promise<{ type: string; time: number }[]> {
  const lines = await shell(host, `setpriv --reuid=65534 --regid=65534 --clear-groups ${berth} events --json`);
  return lines.split('\n').map((line) => JSON.parse(line) as { type: string; time: number });
}

async function drainsOf(host: string): Promise<{ type: string; time: number }[]> {
  return (await eventsOf(host)).filter(({ type }) => type === 'drain');
}

describe('a node whose check fails', () => {
  it('is drained with a reason that names the check, and resumed when it passes again', async () => {
    await shell('n1', 'echo yes >/run/berth/broken');
    await isDrained('n1');
    expect((await stateOf('n1')).reason).toBe('berth: site-purpose: broken on purpose');
    expect((await stateOf('n2')).isDrained).toBe(false);
    await shell('n1', 'rm /run/berth/broken');
    await isResumed('n1');
    expect(await slurm('srun -w n1 hostname')).toBe('n1');
    const reason = 'berth: site-purpose: broken on purpose';
    expect(await drainsOf('n1')).toMatchObject([
      { what: 'drained', node: 'n1', reason },
      { what: 'resumed', node: 'n1', reason },
    ]);
    expect(await shell('n1', `${berth} events`)).toContain(`n1 drained in Slurm: ${reason}`);
    expect(await shell('n1', `${berth} metrics`)).toMatch(
      /^berth_node_drains_total\{what="drained"\} 1\nberth_node_drains_total\{what="resumed"\} 1$/m,
    );
  });

  it('that an administrator has drained keeps that reason, whatever Berth finds', async () => {
    await slurm('scontrol update NodeName=n1 State=DRAIN Reason="rack 5 is moved"');
    await shell('n1', 'echo yes >/run/berth/broken');
    await checked(5);
    expect(await stateOf('n1')).toMatchObject({ isDrained: true, reason: 'rack 5 is moved' });
    await shell('n1', 'rm /run/berth/broken');
    await checked(5);
    expect(await stateOf('n1')).toMatchObject({ isDrained: true, reason: 'rack 5 is moved' });
  });

  it('that an administrator resumes is given its number of failures anew', async () => {
    await shell('n1', 'echo yes >/run/berth/broken');
    await isDrained('n1');
    await checked(3);
    const before = await asked();
    await slurm('scontrol update NodeName=n1 State=RESUME');
    await isDrained('n1');
    // Of drain_after = 3, the first may have been found already.
    expect((await asked()) - before).toBeGreaterThanOrEqual(2);
    expect((await stateOf('n1')).reason).toBe('berth: site-purpose: broken on purpose');
  });

  it('that an administrator takes over is not resumed', async () => {
    await shell('n1', 'echo yes >/run/berth/broken');
    await isDrained('n1');
    await slurm('scontrol update NodeName=n1 Reason="waits for a spare part"');
    await shell('n1', 'rm /run/berth/broken');
    await checked(5);
    expect(await stateOf('n1')).toMatchObject({ isDrained: true, reason: 'waits for a spare part' });
  });

  it('is resumed when the site removes that check', async () => {
    const checks = join(cluster.layout.berthEtc, 'health.d');
    await writeFile(join(checks, 'removed'), '#!/bin/sh\necho broken; exit 2\n', { mode: 0o755 });
    await isDrained('n1');
    await isDrained('n2');
    await rm(join(checks, 'removed'));
    await isResumed('n1');
    await isResumed('n2');
    expect(await readFile(cluster.layout.logFile('n1', 'berthd'), 'utf8')).toContain('no longer checked: site-removed');
  });

  it('does not flap with a check that does: it is not drained', async () => {
    await shell('n1', 'echo flap >/run/berth/broken');
    await checked(8);
    expect(await stateOf('n1')).toMatchObject({ isDrained: false, reason: '' });
  });

  it('does not flap with a check that does: once drained, it is not resumed', async () => {
    await shell('n1', 'echo yes >/run/berth/broken');
    await isDrained('n1');
    await shell('n1', 'echo flap >/run/berth/broken');
    const seen = new Set<boolean>();
    for (let i = 0; i < 4; i++) {
      await checked(2);
      seen.add((await stateOf('n1')).isDrained);
    }
    expect([...seen]).toEqual([true]);
  });
});

describe('a node whose berthd is dead', () => {
  it('is drained, again only after its number of failures, and resumed by the next berthd', async () => {
    await cluster.killDaemon('n2');
    await isDrained('n2');
    expect((await stateOf('n2')).reason).toBe('berth: daemon: berthd does not answer');
    const failures = async (): Promise<number> =>
      (JSON.parse(await shell('n2', 'cat /run/berth/daemon-dead')) as { fails: number }).fails;
    await expect.poll(failures, { timeout: 60_000, interval: 200 }).toBeGreaterThanOrEqual(6);
    await slurm('scontrol update NodeName=n2 State=RESUME');
    await isResumed('n2');
    await isDrained('n2');
    // Those since the administrator has resumed it.
    expect(await failures()).toBeLessThan(6);
    await cluster.startDaemon('n2');
    await isResumed('n2');
    await expect.poll(() => drainsOf('n2'), { timeout: 10_000 }).toHaveLength(3);
    const reason = 'berth: daemon: berthd does not answer';
    const drains = await drainsOf('n2');
    expect(drains).toMatchObject([
      { what: 'drained', node: 'n2', reason },
      { what: 'drained', node: 'n2', reason },
      { what: 'resumed', node: 'n2', reason },
    ]);
    const [started] = (await eventsOf('n2')).filter(({ type }) => type === 'daemon');
    const times = [drains[0], drains[1], started, drains[2]].map((event) => event?.time ?? 0);
    expect(times).toEqual([...times].sort((a, b) => a - b));
    expect((times[1] ?? 0) - (times[0] ?? 0)).toBeGreaterThan(1);
    expect(await shell('n2', `${berth} metrics`)).toContain('berth_node_drains_total{what="drained"} 2');
  });
});

describe('berth-healthcheck', () => {
  it('answers without arguments from what was found half a minute ago', async () => {
    const command = `${artifacts.programs}/berth-healthcheck`;
    expect(await shell('n1', command)).toMatch(/^\d+ checks: \d+ pass$/);
    const looked = async (): Promise<unknown> =>
      (JSON.parse(await shell('n1', `${command} --json --max-age 3600`)) as { time: unknown }).time;
    const first = await looked();
    expect(first).toEqual(expect.any(String));
    await shell('n1', command);
    expect(await looked()).toBe(first);
  });
});
