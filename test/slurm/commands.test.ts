// What users and administrators see of containers that run, and do with them: berth ps, berth exec, and what is refused.
import { beforeAll, describe, expect, it } from 'vitest';
import { account } from '../cluster/accounts.js';
import type { CaptureOptions } from '../cluster/cluster.js';
import type { CommandResult } from '../cluster/command.js';
import { v1 } from '../../src/protocol/index.js';
import { settled } from './leftovers.js';
import { configurations, Site, type Configuration } from './site.js';
import { askDaemon } from './socket.js';

const RANKS = 4;

let site: Site;
beforeAll(async () => {
  site = await Site.start({ images: ['debian', 'other'] });
  return () => site.stop();
});

/** What `berth ps --json` gives. */
interface Listing {
  readonly node: string;
  readonly others: number;
  readonly containers: readonly {
    readonly id: string;
    readonly job: number;
    readonly uid: number;
    readonly user: string;
    readonly image: string;
    readonly digest: string;
    readonly ranks: number;
    readonly userNamespace: boolean;
    readonly launches: readonly {
      readonly step: number;
      readonly cold: boolean;
      readonly phases: readonly { readonly name: string; readonly startUs: number; readonly durationUs: number }[];
      readonly ranks: readonly { readonly rank: number; readonly waitUs: number; readonly joinUs: number }[];
    }[];
  }[];
}

describe.each(configurations())('with userns = $userns', (configuration: Configuration) => {
  const { node, userns, partition } = configuration;
  const jobs = { alice: 0, bob: 0 };
  let begin = 0;

  const berth = (user: string, args: readonly string[], options: CaptureOptions = {}): Promise<CommandResult> =>
    site.cluster.exec(node, ['berth', ...args], { timeout: 30_000, ...options, user });

  async function ps(user: string, ...options: string[]): Promise<Listing> {
    const { stdout } = await berth(user, ['ps', '--json', ...options]);
    return JSON.parse(stdout) as Listing;
  }

  async function containerOf(user: 'alice' | 'bob'): Promise<string> {
    const { containers } = await ps(user);
    return containers[0]?.id ?? 'none';
  }

  beforeAll(async () => {
    begin = performance.now();
    for (const user of ['alice', 'bob'] as const) {
      await site.write('job.sh', `#!/bin/bash\nsrun -n${RANKS} sleep 600\n`, user);
      const [id] = await site.lines(configuration, 'sbatch --parsable --image=debian job.sh', { user });
      jobs[user] = Number(id);
    }
    const waiting = await settled(async () => {
      const { containers } = await ps('root');
      const ready = containers.filter(({ ranks }) => ranks === RANKS).length === 2;
      return ready ? [] : ['the jobs do not run'];
    });
    expect(waiting).toEqual([]);
    return async () => {
      await site.cluster.exec('login', ['scancel', String(jobs.alice), String(jobs.bob)]);
    };
  });

  describe('berth ps', () => {
    it('shows a user the own containers and how many others there are', async () => {
      const { containers, others, node: name } = await ps('alice');
      expect(containers).toHaveLength(1);
      expect(containers[0]).toMatchObject({
        job: jobs.alice,
        uid: account('alice').uid,
        user: 'alice',
        image: 'debian:latest',
        ranks: RANKS,
        userNamespace: userns === 'on',
      });
      expect({ others, name }).toEqual({ others: 1, name: node });
      expect(await ps('carol')).toMatchObject({ containers: [], others: 2 });
    });

    it('shows root all of them', async () => {
      const { containers, others } = await ps('root');
      expect(containers.map(({ user }) => user).sort()).toEqual(['alice', 'bob']);
      expect(others).toBe(0);
    });

    it('is a table for people', async () => {
      const { stdout } = await berth('alice', ['ps']);
      const [title, row, rest] = stdout.split('\n');
      expect(title).toMatch(/^CONTAINER +JOB +USER +IMAGE +RANKS +AGE$/);
      expect(row).toMatch(new RegExp(`^[0-9a-f]{12} +${jobs.alice} +alice +debian:latest +${RANKS} +\\d+ ?s`));
      expect(rest).toBe('and 1 of other users');
    });

    it('berth events tells a user what their jobs did, and of others how much; root of both', async () => {
      const told = async (user: string) => {
        const { stdout } = await berth(user, ['events', '--json']);
        return stdout
          .trim()
          .split('\n')
          .map((line) => JSON.parse(line) as { type: string; job?: number; joined?: number; counts?: object });
      };
      const own = await told('alice');
      const jobsOf = (events: Awaited<ReturnType<typeof told>>) => new Set(events.flatMap(({ job }) => job ?? []));
      expect(jobsOf(own)).toEqual(new Set([jobs.alice]));
      expect(own.filter(({ type }) => type === 'ranks').reduce((sum, { joined = 0 }) => sum + joined, 0)).toBe(RANKS);
      expect(own.find(({ type }) => type === 'others')?.counts).toMatchObject({ launch: 1, container: 1 });
      expect(jobsOf(await told('root'))).toEqual(new Set([jobs.alice, jobs.bob]));
    });

    it('berth metrics counts the ranks that are in containers', async () => {
      const { stdout } = await berth('root', ['metrics']);
      expect(stdout).toContain('\nberth_containers 2\n');
      expect(stdout).toContain(`\nberth_ranks ${2 * RANKS}\n`);
      expect(stdout).toContain(`\nberth_rank_join_seconds_count ${2 * RANKS}\n`);
    });

    it('tells with --timeline what each start was made of', async () => {
      await site.lines(configuration, `srun --jobid=${jobs.alice} --overlap --image=debian -n2 true`);
      const [container] = (await ps('alice', '--timeline')).containers;
      const launches = (container?.launches ?? []).filter(({ ranks }) => ranks.length > 0);
      expect(launches.map(({ cold, ranks }) => ({ cold, ranks: ranks.length }))).toEqual([
        { cold: true, ranks: RANKS },
        { cold: false, ranks: 2 },
      ]);
      const phases = launches[0]?.phases.map(({ name }) => name);
      expect(phases).toEqual(expect.arrayContaining(['request', 'identity', 'policy', 'image mount', 'build', 'pin']));
      const soFar = (performance.now() - begin) * 1000;
      for (const { phases: timed, ranks } of launches) {
        for (const { startUs, durationUs } of timed) expect(startUs + durationUs).toBeLessThan(soFar);
        expect(ranks.map(({ rank }) => rank).sort()).toEqual(ranks.map((_, rank) => rank));
        expect(ranks.every(({ waitUs, joinUs }) => waitUs < soFar && joinUs > 0 && joinUs < soFar)).toBe(true);
      }
      const { stdout } = await berth('alice', ['ps', '--timeline']);
      expect(stdout).toContain('step 0, built the container');
      expect(stdout).toContain(`${RANKS} RANKS`);
    });
  });

  describe('berth exec', () => {
    it("runs a command as a rank's neighbour: same files, namespaces and user, no privilege", async () => {
      const [rank = ''] = await site.lines(
        configuration,
        `srun --jobid=${jobs.alice} --overlap --image=debian readlink /proc/self/ns/mnt`,
      );
      const id = await containerOf('alice');
      const command =
        'cat /image; readlink /proc/self/ns/mnt; id -un; grep -E "CapEff|CapBnd|NoNewPrivs" /proc/self/status';
      const { stdout } = await berth('alice', ['exec', id, 'sh', '-c', `${command}; echo $BERTH_CONTAINER`]);
      expect(stdout.trim().split('\n')).toEqual([
        ...['debian', rank, 'alice', 'CapEff:\t0000000000000000', 'CapBnd:\t0000000000000000', 'NoNewPrivs:\t1', id],
      ]);
    });

    it('finds the container by the beginning of its id, and by its job', async () => {
      const id = await containerOf('alice');
      for (const name of [[id.slice(0, 4)], ['--job', String(jobs.alice)], [`--job=${jobs.alice}`]]) {
        expect(await berth('alice', ['exec', ...name, 'cat', '/image'])).toMatchObject({
          stdout: 'debian\n',
          status: 0,
        });
      }
      const { status, stderr } = await berth('alice', ['exec', id.slice(0, 3), 'true']);
      expect(stderr).toContain('BERTH_CONTAINER_UNKNOWN');
      expect(status).toBe(125);
    });

    it('asks which one when a job has several', async () => {
      const second = `srun --jobid=${jobs.alice} --overlap --image=other true`;
      await site.lines(configuration, second);
      const { status, stderr } = await berth('alice', ['exec', '--job', String(jobs.alice), 'true']);
      expect(stderr).toMatch(/BERTH_CONTAINER_AMBIGUOUS: [^]*debian:latest[^]*other:latest/);
      expect(status).toBe(125);
    });

    it('has the standard input, the arguments, the directory and the variables it is given', async () => {
      const id = await containerOf('alice');
      const show = 'cat; pwd; echo "$GREETING-$1"';
      const options = ['-w', '/home/alice', '-e', 'GREETING=hello there'];
      const { stdout } = await berth('alice', ['exec', ...options, id, 'sh', '-c', show, 'sh', 'a  b'], {
        stdin: 'in\n',
      });
      expect(stdout).toBe('in\n/home/alice\nhello there-a  b\n');
      const { stdout: inImage } = await berth('alice', ['exec', '-w', '/fixtures', id, 'pwd']);
      expect(inImage).toBe('/fixtures\n');
    });

    it('has a terminal where there is one', async () => {
      const id = await containerOf('alice');
      const command = `script --quiet --return --command "berth exec -it ${id} sh -c 'test -t 0 && test -t 1 && tty'" /dev/null`;
      const { stdout, status } = await site.cluster.exec(node, ['sh', '-c', command], {
        user: 'alice',
        timeout: 30_000,
      });
      expect(stdout).toMatch(/\/dev\/pts\/\d+/);
      expect(status).toBe(0);
    });

    it('ends as its command does', async () => {
      const id = await containerOf('alice');
      expect((await berth('alice', ['exec', id, 'sh', '-c', 'exit 7'])).status).toBe(7);
      const killed = await berth('alice', ['exec', id, 'sh', '-c', 'kill -TERM $$']);
      // Through srun it is srun that ends, with the shell's notation.
      expect(userns === 'on' ? killed.signal : killed.status).toBe(userns === 'on' ? 'SIGTERM' : 143);
    });

    it('says with statuses of its own what it could not do', async () => {
      const id = await containerOf('alice');
      const missing = await berth('alice', ['exec', id, 'missing']);
      const unfit = await berth('alice', ['exec', id, '/fixtures/not-executable']);
      const nowhere = await berth('alice', ['exec', '-w', '/nowhere', id, 'true']);
      const unnamed = await berth('alice', ['exec', 'ffffffffffff', 'true']);
      expect(unnamed.stderr).toMatch(/^berth: BERTH_CONTAINER_UNKNOWN: [^]*why: [^]*hint: /);
      expect(unnamed.status).toBe(125);
      if (userns === 'off') {
        // srun starts the command, and says so in its own way; a directory is changed to by a shell in the container.
        expect([missing.status, unfit.status, nowhere.status]).toEqual([2, 13, 125]);
        return;
      }
      expect(missing.stderr).toContain('BERTH_COMMAND_NOT_FOUND: missing is not in the container');
      expect(unfit.stderr).toContain('BERTH_COMMAND_NOT_RUNNABLE: /fixtures/not-executable');
      expect(nowhere.stderr).toContain('the container has no directory /nowhere');
      expect([missing.status, unfit.status, nowhere.status]).toEqual([127, 126, 125]);
    });

    it("does not know of other users' containers, but root's does", async () => {
      const id = await containerOf('alice');
      for (const name of [[id], ['--job', String(jobs.alice)]]) {
        const { status, stderr, stdout } = await berth('bob', ['exec', ...name, 'id']);
        expect(stderr).toContain('BERTH_CONTAINER_UNKNOWN');
        expect({ status, stdout }).toEqual({ status: 125, stdout: '' });
      }
      const asRoot = await berth('root', ['exec', id, 'sh', '-c', 'id; grep CapEff /proc/self/status; cat /image']);
      const [identity] = await site.lines(configuration, 'id');
      expect(asRoot.stdout).toBe(`${identity ?? ''}\nCapEff:\t0000000000000000\ndebian\n`);
    });
  });

  describe('the socket', () => {
    const ask = (user: string, body: Parameters<typeof askDaemon>[3]): Promise<v1.Reply> =>
      askDaemon(site, node, user, body);

    it("takes from nobody but root the end of a job, or a launch, in anybody's name", async () => {
      const { uid, gid } = account('alice');
      const launch = { jobId: jobs.alice, stepId: 0, uid, gid, gids: [], image: 'debian', nodeName: node };
      for (const user of ['alice', 'bob']) {
        for (const purpose of [v1.Purpose.PURPOSE_RANK, v1.Purpose.PURPOSE_STEP, v1.Purpose.PURPOSE_PREPARE]) {
          expect((await ask(user, { launch: { ...launch, purpose } })).error?.code).toBe('BERTH_NOT_PERMITTED');
        }
        expect((await ask(user, { jobEnd: { jobId: jobs.alice } })).error?.code).toBe('BERTH_NOT_PERMITTED');
        expect((await ask(user, { import: { name: 'mine', sourceFd: 0 } })).error?.code).toBe('BERTH_NOT_PERMITTED');
      }
      expect((await ps('root')).containers.filter(({ job }) => job === jobs.alice)).not.toEqual([]);
    });

    it("lets root end a job's containers, which its ranks survive and its next step builds anew", async () => {
      const before = await containerOf('bob');
      expect((await ask('root', { jobEnd: { jobId: jobs.bob } })).jobEnd?.ended).toBe(1);
      expect((await ps('bob')).containers).toEqual([]);
      const steps = `squeue --steps --noheader --format=%i --jobs=${jobs.bob}`;
      expect(await site.lines(configuration, steps, { user: 'bob' })).toContain(`${jobs.bob}.0`);
      const step = `srun -p ${partition} --jobid=${jobs.bob} --overlap --image=debian cat /image`;
      expect(await site.lines(configuration, step, { user: 'bob' })).toEqual(['debian']);
      expect(await containerOf('bob')).not.toBe(before);
    });
  });
});
