// `berth run`: containers of users who have no job, on a login host and on nodes.
import { mkdir, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, beforeAll, describe, expect, it } from 'vitest';
import { account, physics } from '../cluster/accounts.js';
import type { CommandResult } from '../cluster/command.js';
import { expectNothingLeft, settled } from './leftovers.js';
import { configurations, Site } from './site.js';

const [on, off] = configurations();

let site: Site;
beforeAll(async () => {
  site = await Site.start();
  return () => site.stop();
});

afterEach(() => expectNothingLeft(site.cluster));

const shell = (script: string, user = 'alice', host = 'login'): Promise<CommandResult> =>
  site.cluster.exec(host, ['bash', '-c', `cd; ${script}`], { user, timeout: 60_000 });

async function lines(script: string, user?: string, host?: string): Promise<string[]> {
  const { status, stdout, stderr } = await shell(script, user, host);
  expect({ status, stderr: status === 0 ? '' : stderr }).toEqual({ status: 0, stderr: '' });
  return stdout.split('\n').filter((line) => line !== '');
}

/** What `berth ps` tells of the user's containers on the host. */
async function listed(user = 'alice', host = 'login'): Promise<{ id: string; name: string; ranks: number }[]> {
  const [text = ''] = await lines("set -o pipefail; berth ps --json | tr -d '\\n'", user, host);
  const { containers } = JSON.parse(text) as { containers: { id: string; name: string; ranks: number; job: number }[] };
  expect(containers.every(({ job }) => job === 0)).toBe(true);
  return containers.map(({ id, name, ranks }) => ({ id, name, ranks }));
}

describe('a command that berth run runs', () => {
  it('is in the container that srun would give it: same user, groups, mounts and privileges', async () => {
    const look =
      'id; cat /image; grep -E "Cap|NoNewPrivs" /proc/self/status; cat /proc/self/uid_map; ' +
      'cut -d" " -f5 /proc/self/mountinfo; echo $PATH $HOME; umask';
    await site.write('look', `#!/bin/sh\n${look}\n`);
    const bySlurm = await site.lines(on, `srun --quiet --image=debian --mpi=none ~/look | grep -v /var/spool/slurmd`);
    expect(await lines('berth run debian ~/look', 'alice', on.node)).toEqual(bySlurm);
    expect(bySlurm.join('\n')).toContain(`groups=${account('alice').gid}(alice),${physics.gid}(physics)`);
  });

  it('is the very process that was started, with its signals and statuses', async () => {
    const script = `
      sh -c 'echo $$; exec berth run debian sh -c "echo \\$\\$"'
      berth run debian sh -c 'exit 7' || echo $?
      berth run debian sh -c 'kill -TERM $$' || echo $?
      berth run debian nowhere 2>/dev/null || echo $?
      berth run debian /fixtures/not-executable 2>/dev/null || echo $?
      berth run nowhere:1 --pull 2>/dev/null || echo $?
      echo in | berth run debian cat`;
    const [before, after, ...statuses] = await lines(script);
    expect(after).toBe(before);
    expect(statuses).toEqual(['7', '143', '127', '126', '125', 'in']);
  });

  it('has the groups that the asking process has, not those of the name service', async () => {
    const script = `setpriv --reuid=2001 --regid=2001 --clear-groups berth run debian id -G`;
    const { stdout } = await site.cluster.exec('login', ['sh', '-c', script]);
    expect(stdout.trim()).toBe('2001');
  });

  it('has what its options say', async () => {
    await site.write('variables', '# a comment\nONE=1\n\nKNOWN\nUNKNOWN_HERE\n');
    const script = `
      mkdir -p data; echo content > data/file; export KNOWN=known
      berth run -it --rm -v ~/data:/mnt/data:ro -v ./data:/mnt/here -w /mnt/data debian sh -c 'cat file ../here/file; pwd; touch x || echo read-only' 2>/dev/null
      berth run -e A=b -e KNOWN --env-file variables debian sh -c 'echo $A $KNOWN $ONE \${UNKNOWN_HERE-unset}'
      berth run --root --writable=16M debian sh -c 'id -u; touch /new && stat -c %U /new'
      berth run --no-home debian sh -c 'ls ~ 2>/dev/null || echo none'
      berth run --container-remap-root --container-workdir=/usr debian sh -c 'id -u; pwd'
      berth run --unshare=uts,ipc debian true && echo unshared
      berth run --entrypoint=/bin/echo debian by echo
      cd data && berth run debian pwd`;
    expect(await lines(script)).toEqual([
      ...['content', 'content', '/mnt/data', 'read-only', 'b known 1 unset', '0', 'root', 'none', '0', '/usr'],
      ...['unshared', 'by echo', '/home/alice/data'],
    ]);
  });

  it('has volumes of where it was called, as podman has them, and else only whole paths', async () => {
    const script = `
      mkdir -p here/below; for at in . here here/below; do echo $at >$at/name; done; cd here
      berth run -v ./below:/a -v .:/b -v ..:/c -v ../here/below/:/d -v ./../here:/e debian cat /a/name /b/name /c/name /d/name /e/name
      berth run --volume='./below:/a;/opt:/o;..:/b' debian cat /a/name /b/name
      berth run --container-mounts=.:/c:ro,../here/below:/d debian cat /c/name /d/name
      berth run --container-mounts=.,./below:/d debian cat ~/here/name /d/name
      cd /; berth run --no-home -v ./home/alice/here:/a -v ../home:/b debian cat /a/name /b/alice/name; cd ~; rm -r here name`;
    const here = ['here/below', 'here', '.', 'here/below', 'here'];
    const lists = ['here/below', '.', 'here', 'here/below', 'here', 'here/below'];
    expect(await lines(script)).toEqual([...here, ...lists, 'here', '.']);
    for (const volume of ['.hidden:/x', '...:/x', 'here:/x'])
      expect((await shell(`berth run -v ${volume} debian true`)).stderr).toContain('BERTH_PATH_RELATIVE');
  });

  it('has no volumes that the name of a directory asks for: somebody else may have named it', async () => {
    for (const [name, volume] of [
      ['here:/opt', '-v .'],
      ['here:/h,/etc:/opt,/x', '--container-mounts=./below:/d'],
      ['here:/h;/etc:/opt;/x', '--volume=./below:/d'],
      ['a,b', '--container-mounts=./below:/d'],
    ] as const) {
      const { status, stdout, stderr } = await shell(
        `mkdir -p 'x/${name}/below'; cd 'x/${name}'; berth run ${volume} debian ls /opt; status=$?; cd; rm -r x; exit $status`,
      );
      expect(stderr).toContain("has a character at which a volume's path ends");
      expect({ status, stdout }).toEqual({ status: 125, stdout: '' });
    }
    expect(
      await lines(`mkdir -p 'a,b/c'; cd 'a,b/c'; berth run -v .:/d -v ..:/e debian ls /e; cd; rm -r 'a,b'`),
    ).toEqual(['c']);
  });

  it('has in PWD where it is', async () => {
    const script = `
      mkdir -p real; ln -s real by-link
      berth run -w /usr debian printenv PWD; cd by-link; berth run debian printenv PWD
      cd /; berth run -d --name stays -w /usr debian sleep 60 >/dev/null
      berth exec stays printenv PWD; berth exec -w /etc stays printenv PWD; berth stop -t 0 stays >/dev/null; rm -r ~/real ~/by-link`;
    expect(await lines(script)).toEqual(['/usr', '/home/alice/by-link', '/', '/etc']);
  });

  it('can be a file of the user', async () => {
    const script = `
      rm -rf tree; mkdir -p tree/bin; cp /bin/busybox tree/bin/ 2>/dev/null || cp $(readlink -f /proc/self/exe) tree/bin/sh
      berth export debian ~/image.sqsh >/dev/null
      berth run ./image.sqsh cat /image; cd /; berth run ~/image.sqsh cat /image; rm -rf ~/tree ~/image.sqsh`;
    expect(await lines(script)).toEqual(['debian', 'debian']);
  });

  it('is refused with a reason, and nothing is run', async () => {
    const cases = [
      ['berth run', 'BERTH_USAGE: no image was named'],
      ['berth run debian', 'BERTH_USAGE: no command was given'],
      ['berth run --nonsense debian true', 'BERTH_USAGE: berth run has no such option'],
      ['berth run --pull=never nowhere:1 true', 'BERTH_IMAGE_UNKNOWN'],
      ['berth run -v relative:/x debian true', 'BERTH_PATH_RELATIVE'],
      ['berth run -w /nowhere debian true', 'BERTH_WORKDIR'],
      ['berth run --container-save=/tmp/x debian true', 'BERTH_OPTION: --container-save'],
      ['berth run -e =x debian true', 'BERTH_OPTION: -e was given =x'],
      ['berth run --env-file nowhere debian true', 'BERTH_OPTION: --env-file was given nowhere'],
      ['berth run --name a/b debian true', 'BERTH_OPTION: --container-name was given a/b:create'],
      ['berth run --root --container-remap-root debian true', ''],
    ] as const;
    for (const [command, code] of cases) {
      const { status, stdout, stderr } = await shell(command);
      if (code === '') expect(status).toBe(0);
      else
        expect({ command, status, stdout, code: stderr.includes(code) }).toEqual({
          command,
          status: 125,
          stdout: '',
          code: true,
        });
    }
  });

  it("cannot start in a mount namespace that its user has made, where the site's paths mean nothing", async () => {
    const script = 'unshare --user --map-root-user --mount berth run debian echo ran';
    const { status, stdout, stderr } = await site.cluster.exec('login', ['sh', '-c', script]);
    expect({ status, stdout }).toEqual({ status: 125, stdout: '' });
    expect(stderr).toContain('BERTH_NOT_PERMITTED: running a container from inside another one');
  });

  it('needs Slurm where there are no user namespaces, but for root', async () => {
    const { status, stderr } = await shell('berth run debian true', 'alice', off.node);
    expect(status).toBe(125);
    expect(stderr).toContain('[container] userns = "off"');
    expect(await lines('berth run debian cat /image', 'root', off.node)).toEqual(['debian']);
  });
});

describe('a container without a job', () => {
  it('is shared by runs of the same at the same time, and let go of with the last of them', async () => {
    const script = `
      berth run debian sh -c 'readlink /proc/self/ns/mnt; sleep 1' & sleep 0.3
      berth run debian readlink /proc/self/ns/mnt
      berth run --no-home debian readlink /proc/self/ns/mnt
      berth ps --json | grep -c '"id"'
      berth ps --json | grep '"ranks"'; wait`;
    const [first, second, other, count, ranks] = await lines(script);
    expect(second).toBe(first);
    expect(other).not.toBe(first);
    expect([count, ranks?.trim()]).toEqual(['1', '"ranks": 1,']);
    expect(await settled(async () => (await listed()).map(({ id }) => id))).toEqual([]);
  });

  it('is seen and entered by its user alone', async () => {
    await lines('berth run -d --name mine debian sleep 60');
    expect(await lines('berth exec mine cat /image')).toEqual(['debian']);
    expect(await listed('bob')).toEqual([]);
    for (const command of ['berth exec mine true', 'berth stop mine', 'berth logs mine']) {
      const { status, stderr } = await shell(command, 'bob');
      expect({ command, failed: status !== 0, known: stderr.includes('UNKNOWN') }).toEqual({
        command,
        failed: true,
        known: true,
      });
    }
    await lines('berth stop mine');
  });

  it('goes on when berthd is killed, is known to the next one, and let go of when it ends', async () => {
    const [id = ''] = await lines(`berth run -d --name lasting debian sh -c 'echo $$ > pid; exec sleep 60'`);
    const foreground = await site.cluster.spawn('login', ['berth', 'run', 'debian', 'sleep', '60'], { user: 'alice' });
    const two = await settled(async () => ((await listed()).length === 2 ? [] : ['not yet']));
    expect(two).toEqual([]);
    await site.cluster.killDaemon('login');
    await site.startDaemon('login');
    expect((await listed()).map(({ ranks }) => ranks)).toEqual([1, 1]);
    expect(await lines('berth exec lasting cat /image')).toEqual(['debian']);
    foreground.kill('SIGKILL');
    expect(await settled(async () => ((await listed()).length === 1 ? [] : ['not yet']))).toEqual([]);
    expect((await listed()).map((container) => container.id)).toEqual([id]);
    // Ends while berthd is away.
    await site.cluster.killDaemon('login');
    const [pid = ''] = await lines('cat pid');
    process.kill(Number(pid), 'SIGKILL');
    await site.startDaemon('login');
    expect(await settled(async () => (await listed()).map((container) => container.id))).toEqual([]);
  });

  it('can be entered after a restart of berthd as long as a process is inside', async () => {
    await lines(`berth run --container-name=left debian sh -c 'sleep 61 & sleep 0.6' >/dev/null 2>&1 & sleep 0.4`);
    await site.cluster.killDaemon('login');
    await new Promise((resolve) => setTimeout(resolve, 500));
    await site.startDaemon('login');
    expect(await settled(async () => ((await listed()).length === 1 ? [] : ['not there']))).toEqual([]);
    expect(await lines('berth exec left cat /image; berth stop left')).toEqual(['debian', 'left']);
    expect(await listed()).toEqual([]);
  });

  it('is none when the process is in the cgroup of a job: then it is the container of that', async () => {
    // Slurm's own cgroup of version 2 for a step of a job that has ended; the cluster's Slurm uses none.
    const job = 4_000_000 + (process.pid % 90_000);
    const script = `
      root=$(awk '$9 == "cgroup2" || $8 == "cgroup2" || $10 == "cgroup2" { print $5; exit }' /proc/self/mountinfo)
      step=$root/system.slice/slurmstepd.scope/job_${job}/step_0
      mkdir -p $step; echo $$ > $step/cgroup.procs
      SLURM_JOB_ID=1 setpriv --reuid=alice --regid=alice --init-groups berth run debian cat /image
      berth ps --json | grep -o '"job": ${job}'
      echo $$ > $root/cgroup.procs
      rmdir $step \${step%/*}; rmdir $root/system.slice/slurmstepd.scope $root/system.slice 2>/dev/null; true`;
    expect(await lines(script, 'root', on.node)).toEqual(['debian', `"job": ${job}`]);
    // It ends with the job: as Slurm knows of none, when berthd looks.
    await site.cluster.killDaemon(on.node);
    await site.startDaemon(on.node);
    const left = await settled(() => lines(`berth ps --json | grep '"id"' || true`, 'root', on.node));
    expect(left).toEqual([]);
  });

  it('is one of at most 64 of a user', async () => {
    const script = `
      for i in $(seq 64); do berth run -d --name c$i debian sleep 60 >/dev/null || echo failed $i; done
      berth run -d debian true 2>&1 | head -1
      berth stop -t 0 $(seq -f c%g 64) | wc -l`;
    expect(await lines(script)).toEqual([
      'berth: BERTH_TOO_MANY_RUNS: you have 64 containers on login already that belong to no job',
      '64',
    ]);
  });
});

describe('a container in the background', () => {
  it('runs on without its terminal and tells what it has printed, also when it is over', async () => {
    const script = `
      berth run -d --name talks debian sh -c 'echo out; echo err >&2; sleep 0.5; echo late; exit 3' > id
      grep -cE '^[0-9a-f]{12}$' id
      berth logs -f talks 2>&1
      berth logs $(cut -c1-6 id) 2>/dev/null`;
    expect(await lines(script)).toEqual([
      '1',
      'out',
      'err',
      'late',
      'berth: talks ended with status 3',
      'out',
      'err',
      'late',
    ]);
  });

  it('is waited for, and told how it has ended', async () => {
    const script = `
      berth run -d --name seven debian sh -c 'sleep 0.5; exit 7' >/dev/null
      berth run -d --name killed debian sh -c 'kill -KILL $$' >/dev/null
      berth run -d --name parent debian sh -c 'sleep 1 & exit 3' >/dev/null
      berth wait parent seven killed; berth wait seven
      id=$(berth run -d debian true); berth wait \${id%????}`;
    expect(await lines(script)).toEqual(['3', '7', '137', '7', '0']);
    for (const [name, code, status] of [
      ['nowhere', 'BERTH_LOG_UNKNOWN', 3],
      ['', 'BERTH_USAGE: no container was named', 2],
    ] as const) {
      const told = await shell(`berth wait ${name}`);
      expect(told.stderr).toContain(code);
      expect(told.status).toBe(status);
    }
  });

  it('that nobody can tell of any more is an error to wait for', async () => {
    await lines('berth run -d --name orphan debian sleep 60');
    const pid = (await lines('pgrep -u alice -f "^berth run -d --name orphan"'))[0] ?? '';
    const told = await shell(`berth wait orphan & sleep 0.3; kill -KILL ${pid}; wait $!`);
    expect(told.stderr).toContain('BERTH_END_UNKNOWN: nobody knows how the command of orphan has ended');
    expect(told).toMatchObject({ status: 1, stdout: '' });
  });

  it('has a name of its own', async () => {
    const script = `
      berth run -d --name one debian sleep 60 >/dev/null
      berth run -d --name one debian sleep 60 2>&1 | head -1
      berth ps | sed -E 's/ +/ /g' | cut -d' ' -f3-5
      berth stop one && berth run --name one debian echo again`;
    expect(await lines(script)).toEqual([
      'berth: BERTH_CONTAINER_NAME: the container name one cannot be used on login',
      ...['NAME USER IMAGE', 'one alice debian:latest', 'one', 'again'],
    ]);
  });

  it('that does not start is an error at once', async () => {
    const { status, stdout, stderr } = await shell('berth run -d debian nowhere');
    expect({ status, stdout }).toEqual({ status: 127, stdout: '' });
    expect(stderr).toContain('BERTH_COMMAND_NOT_FOUND: nowhere is not in the container');
    expect(await listed()).toEqual([]);
  });

  it('is stopped politely, and killed with all that it has started when that does not help', async () => {
    const script = `
      berth run -d --name kind debian sh -c 'trap "echo bye; exit 0" TERM; while :; do sleep 0.1; done' >/dev/null
      sleep 0.3; berth stop kind; berth logs kind 2>&1
      berth run -d --name deaf debian sh -c 'trap "" TERM; setsid sh -c "trap \\"\\" TERM; sleep 6262" & while :; do sleep 1; done' >/dev/null
      sleep 0.3; berth stop -t 1 deaf; berth logs deaf 2>&1; pgrep -u alice -f '^sleep 6262$' || echo none`;
    expect(await lines(script)).toEqual([
      ...['kind', 'bye', 'berth: kind ended with status 0'],
      ...['deaf', 'berth: deaf ended by signal 9', 'none'],
    ]);
  });

  it('lasts until the last process has ended that it has started', async () => {
    const script = `
      berth run -d --name parent debian sh -c 'sleep 1.5 & exit 0' >/dev/null; sleep 0.5
      berth exec parent cat /image; sleep 1.5; berth ps --json | grep -c '"id"'`;
    const { stdout } = await shell(script);
    expect(stdout.split('\n').slice(0, 2)).toEqual(['debian', '0']);
  });

  it('keeps the last 8 to 16 MiB of what it prints, and the last 20 logs', async () => {
    const script = `
      berth run -d --name loud debian sh -c 'seq 3000000; echo last' >/dev/null
      berth logs -f loud 2>/dev/null | tail -n 1
      du -sm ~/.local/state/berth/logs/login | cut -f1
      for i in $(seq 25); do berth run -d --name many$i debian true >/dev/null; done; sleep 0.3
      ls ~/.local/state/berth/logs/login | grep -c 'log$'
      ls ~/.local/state/berth/logs/login | grep -c 'name.many'`;
    const [last, size, logs, names] = await lines(script);
    expect(last).toBe('last');
    expect(Number(size)).toBeLessThan(18);
    expect([logs, names]).toEqual(['20', '20']);
  });
});

it('only root may run containers where the site says so', async () => {
  const directory = join(site.cluster.dir, 'strict');
  await mkdir(directory);
  const config = join(directory, 'berth.toml');
  await writeFile(config, '[container]\nrun = "root"\n');
  await site.cluster.stopDaemon('login');
  try {
    await site.cluster.startDaemon('login', { config });
    const { status, stderr } = await shell('berth run debian true');
    expect(status).toBe(125);
    expect(stderr).toContain('[container] run = "root"');
    expect(await lines('berth run debian cat /image', 'root')).toEqual(['debian']);
  } finally {
    await site.cluster.stopDaemon('login');
    await site.startDaemon('login');
    await rm(directory, { recursive: true });
  }
});
