// Images in the life of jobs: what runs stays, what is shared is checked at each launch, and what users build runs.
import { readdir, utimes } from 'node:fs/promises';
import { join } from 'node:path';
import { beforeAll, describe, expect, it } from 'vitest';
import type { CommandResult } from '../cluster/command.js';
import { Layout } from '../../src/image/layout.js';
import { account } from '../cluster/accounts.js';
import { settled } from './leftovers.js';
import { configurations, Site } from './site.js';

// Which namespaces a container has makes no difference to its image.
const [configuration] = configurations(2);

let site: Site;
beforeAll(async () => {
  site = await Site.start({ nodes: 2, berthConfig: 'import = "anyone"\n[container]\n', prepare: makeHome });
  return () => site.stop();
});

/** In the user's home: a root file system, and a Dockerfile that uses it. */
async function makeHome(made: Site): Promise<void> {
  const script = `
    mkdir -p run rootfs/bin rootfs/etc hello
    cp /bin/dash rootfs/bin/sh; cp /bin/cat rootfs/bin/
    for library in $(ldd /bin/dash /bin/cat | grep -o '/lib[^ ]*' | sort -u); do
      mkdir -p "rootfs$(dirname "$library")"; cp -L "$library" "rootfs$library"
    done
    cp -r rootfs hello/
    printf '%s\\n' 'FROM scratch' 'COPY rootfs /' 'ARG WORD=nothing' 'RUN ["/bin/sh", "-c", "echo $WORD > /etc/word"]' \
      'ENV GREETING=hello' > hello/Dockerfile`;
  for (const user of ['alice', 'carol']) await made.lines(configuration, script, { user });
}

// buildah wants a place for what it locks; without it, it takes /var/tmp.
const ENV = 'export XDG_RUNTIME_DIR=$HOME/run\n';

function shell(script: string, user = 'alice'): Promise<CommandResult> {
  return site.shell(configuration, `${ENV}${script}`, { user, timeout: 90_000 });
}

function lines(script: string, user = 'alice'): Promise<string[]> {
  return site.lines(configuration, `${ENV}${script}`, { user, timeout: 90_000 });
}

const layout = (): Layout => new Layout(site.cluster.layout.store);

/** The digest of the file of one of alice's images. */
async function digestOf(name: string): Promise<string> {
  const [digest = ''] = await lines(`berth inspect --json ${name} | sed -n 's/^ *"digest": "\\(.*\\)",/\\1/p'`);
  return digest;
}

/** Makes an image look as if nobody had touched it for a day: gc leaves alone what is younger than an hour. */
async function setBack(digest: string): Promise<void> {
  const then = Date.now() / 1000 - 86_400;
  const uses = join(layout().usesOf(digest), 'last');
  const { uid } = account('alice');
  for (const path of [layout().image(digest), layout().ref(uid, digest), uses]) {
    await utimes(path, then, then).catch(() => undefined);
  }
}

/** Digests of what a collection on the host removes. */
async function collect(host: string): Promise<string[]> {
  const { stdout } = await site.cluster.exec(host, ['berth', 'gc', '--json'], { timeout: 60_000 });
  const { entries } = JSON.parse(stdout) as { entries: { name: string; keptFor?: string }[] };
  return entries.filter(({ keptFor }) => keptFor === undefined).map(({ name }) => name);
}

/** An image of alice's with this word in /etc/word. */
async function importWord(name: string, word: string): Promise<string> {
  await lines(`rm -rf word; cp -r rootfs word; echo ${word} > word/etc/word; berth import ${name} word; rm -r word`);
  return digestOf(name);
}

describe('an image that a job runs', () => {
  it('stays when its name is removed and the store is collected on another node, and goes when the job has ended', async () => {
    const digest = await importWord('running:1', 'running');
    const [job = ''] = await lines(
      'sbatch --parsable -N2 --image=none --wrap "srun -N2 --image=running:1 sh -c \'while :; do read x < /etc/word; done\'"',
    );
    const waiting = await settled(async () => {
      const uses = await readdir(layout().usesOf(digest)).catch(() => []);
      return uses.filter((use) => use.endsWith(`-${job}`)).length === 2 ? [] : ['the job does not run on both nodes'];
    });
    expect(waiting).toEqual([]);
    const [said = ''] = await lines('berth rmi --force running:1');
    expect(said).toMatch(
      new RegExp(`^removed the name running:1; the image sha256:[0-9a-f]{64} stays: in use by job ${job} on `),
    );
    await setBack(digest);
    for (const host of ['login', 'n1', 'n2']) expect(await collect(host)).not.toContain(digest);
    const { stdout } = await shell(`srun --overlap --jobid=${job} -N2 --image=none cat /proc/self/comm`);
    expect(stdout).toBe('cat\ncat\n');
    await lines(`scancel ${job}; while squeue -h -j ${job} 2>/dev/null | grep -q .; do sleep 0.1; done`);
    const gone = await settled(async () => {
      await setBack(digest);
      return (await collect('login')).includes(digest) ? [] : ['it is still there'];
    });
    expect(gone).toEqual([]);
  });
});

describe('a job that waits in the queue', () => {
  it('runs what its tag meant when it was submitted, although the tag has moved and the store was collected', async () => {
    const old = await importWord('tagged:1', 'submitted');
    const [job = ''] = await lines(
      "sbatch --parsable --hold --image=tagged:1 -o queued.out --wrap 'srun cat /etc/word'",
    );
    await importWord('tagged:1', 'moved');
    await setBack(old);
    expect(await collect('login')).not.toContain(old);
    await lines(`scontrol release ${job}; while squeue -h -j ${job} 2>/dev/null | grep -q .; do sleep 0.1; done`);
    expect(await lines('cat queued.out')).toEqual(['submitted']);
    expect(await lines('srun --image=tagged:1 cat /etc/word')).toEqual(['moved']);
  });
});

describe('a shared image', () => {
  const run = (user: string): Promise<CommandResult> => shell('srun --image=user:alice/shared:1 cat /etc/word', user);

  it('runs for those it is shared with, users and members of groups, until it is not shared any more', async () => {
    await importWord('shared:1', 'shared');
    expect((await run('bob')).stderr).toContain('BERTH_IMAGE_UNKNOWN');
    await lines('berth share shared:1 --user bob');
    expect((await run('bob')).stdout).toBe('shared\n');
    expect((await run('carol')).stderr).toContain('BERTH_IMAGE_UNKNOWN');
    await lines('berth share shared:1 --everyone');
    expect((await run('carol')).stdout).toBe('shared\n');
    await lines('berth share shared:1 --nobody');
    for (const user of ['bob', 'carol']) expect((await run(user)).stderr).toContain('BERTH_IMAGE_UNKNOWN');
  });

  it("of the site's, root may have only a group use", async () => {
    const root = (...argv: string[]): Promise<CommandResult> => site.cluster.exec('login', ['berth', ...argv]);
    await root('share', 'debian', '--group', 'physics');
    expect((await shell('srun --image=debian cat /image')).stdout).toBe('debian\n');
    // For bob there is no such image in the store, so it is looked for at its registry, which this cluster has not.
    expect((await shell('srun --image=debian cat /image', 'bob')).stdout).toBe('');
    expect((await shell('berth tag debian mine:1', 'bob')).stderr).toContain('BERTH_IMAGE_UNKNOWN');
    expect((await shell('berth tag debian mine:1')).stderr).toContain('BERTH_NOT_PERMITTED');
    await root('share', 'debian', '--everyone');
    expect((await shell('srun --image=debian cat /image', 'bob')).stdout).toBe('debian\n');
  });
});

describe('berth build', () => {
  it('tells a user who has no subordinate ids what is missing, and whom to ask', async () => {
    const { status, stderr } = await shell('berth build -t x:1 ./hello', 'carol');
    expect(status).toBe(6);
    expect(stderr).toContain('BERTH_IMAGE_BUILD: building x:1 failed');
    expect(stderr).toContain('carol has no subordinate ids on login');
    expect(stderr).toContain('usermod --add-subuids');
  });

  it('says what failed when a step does, and leaves nothing behind', async () => {
    const { status, stderr } = await shell(
      `printf '%s\\n' 'FROM scratch' 'COPY rootfs /' 'RUN ["/bin/sh", "-c", "exit 3"]' > bad
       berth build -t x:1 -f bad ./hello; status=$?
       berth images --json | grep -c x:1 && exit 99
       ls -d /tmp/berth-build-* && exit 98
       exit $status`,
    );
    expect(status).toBe(6);
    expect(stderr).toMatch(/why: buildah build: .*exit status 3/);
  });
});

it('an image with several names is called by the one that a job names', async () => {
  await importWord('several:1', 'several');
  await lines('berth tag several:1 several:2');
  for (const name of ['several:2', 'several:1'])
    expect(await lines(`srun --image=${name} sh -c 'echo $BERTH_IMAGE'`)).toEqual([name]);
});
