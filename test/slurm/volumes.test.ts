// Volumes that berthd mounts: squashfs files, and the per-node cache.
import { execFile } from 'node:child_process';
import { chmod, chown, mkdir, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterEach, beforeAll, describe, expect, it } from 'vitest';
import { requireCommand } from '../cluster/command.js';
import { expectNothingLeft, settled } from './leftovers.js';
import { configurations, Site } from './site.js';

const NODES = 2;
/** Of one job on a node, in MiB. */
const CACHE_LIMIT = 600;
const run = promisify(execFile);

/** Caches are made here: a name that no other cluster on this machine has. */
const SCRATCH = `scratch-${process.pid}`;
const CACHE = `$HOME/${SCRATCH}:/cache:perNodeCache`;

let site: Site;
let home: string;
let alice: { uid: number; gid: number };
beforeAll(async () => {
  const berthConfig = `[volumes]\ncache_limit = ${CACHE_LIMIT}\ndenied_sources = ["/home/alice/denied"]\n[container]\n`;
  site = await Site.start({ nodes: NODES, berthConfig });
  home = join(site.cluster.layout.home, 'alice');
  alice = await stat(home);
  for (const name of [SCRATCH, 'denied']) {
    await mkdir(join(home, name));
    await chown(join(home, name), alice.uid, alice.gid);
  }
  return () => site.stop();
});
afterEach(async () => {
  await expectNothingLeft(site.cluster);
  expect(await settled(cacheDevices)).toEqual([]);
});

/** Loop devices on files of caches. */
async function cacheDevices(): Promise<string[]> {
  const list = await requireCommand(['losetup', '--list', '--noheadings', '--output', 'NAME,BACK-FILE']);
  return list.split('\n').filter((line) => line.includes(SCRATCH));
}

/** Puts a data set into a squashfs file of alice's, and returns its path there. */
async function makeData(name: string, text: string, mode = 0o644): Promise<string> {
  const source = join(site.cluster.dir, 'data');
  await rm(source, { recursive: true, force: true });
  await mkdir(join(source, 'deep/er'), { recursive: true });
  await writeFile(join(source, 'deep/er/all'), `${text}\n`);
  await writeFile(join(source, 'private'), `${text} private\n`, { mode: 0o600 });
  await writeFile(join(source, 'root'), `${text} root\n`, { mode: 0o600 });
  await chown(join(source, 'private'), alice.uid, alice.gid);
  const path = join(home, name);
  await rm(path, { force: true });
  await run('mksquashfs', [source, path, '-noappend', '-quiet', '-no-progress', '-comp', 'gzip']);
  await chown(path, alice.uid, alice.gid);
  await chmod(path, mode);
  return `/home/alice/${name}`;
}

describe.each(configurations(NODES))('with userns = $userns', (configuration) => {
  const { userns, node } = configuration;
  const shell = (script: string, user = 'alice'): ReturnType<Site['shell']> =>
    site.shell(configuration, script, { user });
  const lines = (script: string): Promise<string[]> => site.lines(configuration, script);

  async function refusal(script: string, user?: string): Promise<string> {
    const { status, stdout, stderr } = await shell(script, user);
    expect({ failed: status !== 0, stdout }).toEqual({ failed: true, stdout: '' });
    expect(await lines('sinfo -h -o %T | sort -u')).not.toContain('drained');
    return stderr;
  }

  describe('a squashfs file', () => {
    it('appears as a directory on every node, with the owners it was made with, and read-only', async () => {
      const path = await makeData(`${userns}-data.sqsh`, 'text');
      await site.write(
        'look',
        '#!/bin/sh\ncat /data/deep/er/all /data/private\ncat /data/root 2>/dev/null || echo not root\ntouch /data/x 2>&1 | grep -o Read-only\n',
      );
      const each = ['text', 'text private', 'not root', 'Read-only'];
      const script = `srun -l -N2 -n4 --image=debian --volume=${path}:/data:sqsh ~/look | sort -sn | cut -d' ' -f2-`;
      expect(await lines(script)).toEqual([...each, ...each, ...each, ...each]);
    });

    it('is made into an image, which counts as in use as long as the job runs', async () => {
      const path = await makeData(`${userns}-used.sqsh`, `${userns} used`);
      await site.write(
        'job.sh',
        '#!/bin/bash\nsrun true; echo $SLURM_JOB_ID >ready; until [ -e go ]; do sleep 0.05; done; srun cat /data/deep/er/all\n',
      );
      await lines('rm -f ready go');
      const jobs = lines(`salloc --quiet -w ${node} --image=debian --volume=${path}:/data:sqsh bash job.sh`);
      expect(await settled(async () => ((await lines('ls')).includes('ready') ? [] : ['not ready']))).toEqual([]);
      const [job = ''] = await lines('cat ready');
      const inUse = async (): Promise<string[]> =>
        (await readdir(join(site.cluster.layout.store, 'uses'), { recursive: true })).filter((name) =>
          name.endsWith(`-${job}`),
        );
      expect(await inUse()).toHaveLength(2);
      await site.write('go', '');
      expect(await jobs).toEqual([`${userns} used`]);
      expect(await settled(inUse)).toEqual([]);
    });

    it('stays what it was for the job, and is another for the next', async () => {
      const path = await makeData(`${userns}-changes.sqsh`, 'first');
      const options = `--image=debian --volume=${path}:/data:sqsh`;
      expect(await lines(`srun ${options} cat /data/deep/er/all`)).toEqual(['first']);
      await makeData(`${userns}-changes.sqsh`, 'second');
      expect(await lines(`srun ${options} cat /data/deep/er/all`)).toEqual(['second']);
    });

    it('that somebody else may not read is refused', async () => {
      const path = await makeData(`${userns}-secret.sqsh`, 'secret', 0o600);
      await chmod(home, 0o755);
      expect(await refusal(`cd /; srun --image=debian --volume=${path}:/data:sqsh cat /data/private`, 'bob')).toMatch(
        /BERTH_VOLUME_FILE: .* cannot be mounted as a volume on n\d[^]*why: permission denied/,
      );
    });

    it.each([
      ['is missing', 'true', /why: no such file/],
      ['is a directory', 'mkdir FILE', /why: it is a directory/],
      ['is a tar archive', 'tar cf FILE /etc/hostname 2>/dev/null', /why: it is no squashfs file/],
      ['is a device', 'ln -s /dev/zero FILE', /why: it is a device/],
      ['is half a squashfs file', `head -c 100 ${userns}-secret.sqsh >FILE`, /why: \S/],
    ])('that %s is refused', async (_, prepare, why) => {
      const file = `./${userns}-odd`;
      const words = await refusal(
        `rm -rf ${file}; ${prepare.replaceAll('FILE', file)}; srun -n2 --image=debian --volume=$HOME/${userns}-odd:/data:sqsh true`,
      );
      expect(words).toContain('BERTH_VOLUME_FILE: ');
      expect(words).toMatch(why);
    });

    it('that lies where the site lets nobody mount from is refused, also by a link', async () => {
      const path = await makeData('denied/data.sqsh', 'denied');
      expect(await refusal(`srun --image=debian --volume=${path}:/data:sqsh true`)).toMatch(
        /BERTH_MOUNT_DENIED: [^]*is below \/home\/alice\/denied, which the site keeps out/,
      );
      const link = `ln -sfn ${path} ~/link; srun --image=debian --volume=$HOME/link:/data:sqsh true`;
      expect(await refusal(link)).toContain('BERTH_MOUNT_DENIED: ');
    });

    // Files are served by FUSE only with user namespaces.
    const policies = ['refuse', 'mount-unsafely', ...(userns === 'on' ? ['fuse'] : [])];
    it.each(policies)('where [store] files = "%s"', async (policy) => {
      const path = await makeData(`${userns}-policy.sqsh`, 'as it is');
      const file = join(site.cluster.dir, 'policy.toml');
      const { stdout: text } = await site.cluster.exec(node, ['cat', '/etc/berth/berth.toml']);
      await writeFile(file, text.replace('[store]\n', `[store]\nfiles = "${policy}"\n`));
      await site.cluster.stopDaemon(node);
      await site.cluster.startDaemon(node, { config: file });
      try {
        const script = `srun -w ${node} -n2 --image=debian --volume=${path}:/data:sqsh cat /data/deep/er/all`;
        if (policy === 'mount-unsafely') expect(await lines(script)).toEqual(['as it is', 'as it is']);
        else expect(await refusal(script)).toContain(`[store] files = "${policy}"`);
      } finally {
        await site.cluster.stopDaemon(node);
        await site.startDaemon(node);
      }
    });
  });

  describe('a per-node cache', () => {
    it.each(['ext4', 'xfs'])('of %s is one for all ranks of a node, and the user alone has it', async (filesystem) => {
      const cache = `--volume=${CACHE}=size=300M,fs=${filesystem}`;
      await site.write('look', '#!/bin/sh\nstat -c "%U %a" /cache; stat -f -c %T /cache; ls /cache\n');
      const script = `salloc --quiet -N2 --image=debian ${cache} bash -c 'srun sh -c "echo > /cache/of-\\$SLURM_NODEID"; srun -l -n4 -m block ~/look | sort -sn | cut -d" " -f2-'`;
      const type = filesystem === 'xfs' ? 'xfs' : 'ext2/ext3';
      const each = (n: number): string[] => ['alice 700', type, `of-${n}`];
      expect(await lines(script)).toEqual([...each(0), ...each(0), ...each(1), ...each(1)]);
    });

    it('is gone after the job', async () => {
      const script = `srun --image=debian --volume=${CACHE}=size=64M sh -c 'ls /cache; echo there > /cache/file; cat /cache/file'`;
      expect(await lines(`${script}; ${script}; ls -A ${SCRATCH}`)).toEqual(['there', 'there']);
    });

    it('is full at its size', async () => {
      const write = 'dd if=/dev/zero of=/cache/fill bs=1M 2>&1 | grep -o "No space left"; du -m /cache/fill | cut -f1';
      const [error, size] = await lines(`srun --image=debian --volume=${CACHE}=size=64M sh -c '${write}'`);
      expect(error).toBe('No space left');
      expect(Number(size)).toBeLessThanOrEqual(64);
    });

    it('has no more than the site allows, nor have all of a job', async () => {
      const ask = (size: number): string => `srun --image=debian --volume=${CACHE}=size=${size}M`;
      expect(await refusal(`${ask(CACHE_LIMIT + 1)} true`)).toMatch(/BERTH_SIZE: [^]*\[volumes\] cache_limit/);
      const both = `${ask(400)} true && ${ask(201)} true`;
      const words = await refusal(`salloc --quiet -w ${node} bash -c '${both}'`);
      expect(words).toMatch(/BERTH_SIZE: .*601M[^]*for a job on a node/);
    });

    it('gives no setuid file and no device any power', async () => {
      const [flags = ''] = await lines(
        `srun --image=debian --volume=${CACHE}=size=64M sh -c 'grep " /cache " /proc/self/mountinfo | cut -d" " -f6'`,
      );
      expect(flags.split(',')).toEqual(expect.arrayContaining(['rw', 'nosuid', 'nodev', 'noatime']));
    });

    it('has no name outside, and no process of its owner finds it', async () => {
      const hunt = `
        ls -A ~/${SCRATCH} | wc -l
        find /proc/[0-9]*/fd -lname "*${SCRATCH}*" 2>/dev/null | wc -l
        for device in /dev/loop[0-9]*; do head -c 1 "$device" >/dev/null 2>&1 && echo "$device"; done
        ls -A ~/${SCRATCH}/.. | grep -c '^#'`;
      await site.write('hunt', `#!/bin/bash\n${hunt}\ntrue\n`);
      const script = `srun --image=debian --volume=${CACHE}=size=64M true; srun --image=none ~/hunt`;
      expect(await lines(`salloc --quiet -w ${node} bash -c '${script}'`)).toEqual(['0', '0', '0']);
    });

    it.each([
      ['is not there', `$HOME/none`, /BERTH_CACHE: [^]*why: no such file/],
      ["is somebody else's", '/home/bob', /BERTH_CACHE: [^]*why: permission denied/],
      ['is one that the site denies', '$HOME/denied', /BERTH_MOUNT_DENIED: /],
      ['is in memory', '/dev/shm', /BERTH_CACHE: [^]*it is on tmpfs; the site allows it on: /],
    ])('in a directory that %s is refused', async (_, directory, words) => {
      expect(await refusal(`srun --image=debian --volume=${directory}:/cache:perNodeCache=size=64M true`)).toMatch(
        words,
      );
    });

    it('of xfs is not too small', async () => {
      expect(await refusal(`srun --image=debian --volume=${CACHE}=size=299M,fs=xfs true`)).toMatch(
        /BERTH_SIZE: [^]*an xfs has at least 300M/,
      );
    });

    it('is gone after scancel, in use', async () => {
      await site.write(
        'job.sh',
        '#!/bin/bash\nsrun -n2 sh -c "echo x > /cache/x; touch ~/in-use; exec sleep 60 < /cache/x"\n',
      );
      const [job = ''] = await lines(
        `rm -f in-use; sbatch --parsable --image=debian --volume=${CACHE}=size=64M job.sh`,
      );
      expect(await settled(async () => ((await lines('ls')).includes('in-use') ? [] : ['not in use']))).toEqual([]);
      expect(await cacheDevices()).toHaveLength(1);
      await lines(`scancel ${job}`);
    });

    it('stays when berthd is killed, and is gone after the job', async () => {
      await site.write(
        'job.sh',
        '#!/bin/bash\nsrun sh -c "echo x > /cache/x"; touch ready; until [ -e go ]; do sleep 0.05; done; srun cat /cache/x\n',
      );
      await lines('rm -f ready go');
      const job = lines(`salloc --quiet -w ${node} --image=debian --volume=${CACHE}=size=64M bash job.sh`);
      expect(await settled(async () => ((await lines('ls')).includes('ready') ? [] : ['not ready']))).toEqual([]);
      await site.cluster.killDaemon(node);
      await site.startDaemon(node);
      await site.write('go', '');
      expect(await job).toEqual(['x']);
    });

    it('is not left when berthd is killed while it is made', async () => {
      for (let round = 0; round < 4; round++) {
        const step = shell(`srun -w ${node} --image=debian --volume=${CACHE}=size=300M,fs=xfs true`);
        await new Promise((resolve) => setTimeout(resolve, 150 + round * 40));
        await site.cluster.killDaemon(node);
        await site.startDaemon(node);
        await step;
      }
      expect((await readFile('/proc/mounts', 'utf8')).includes(SCRATCH)).toBe(false);
    });
  });
});

// With user namespaces alone (docs/inside.md).
describe('a directory that takes what is written', () => {
  const [on] = configurations(NODES);
  const { node } = on;
  const lines = (script: string): Promise<string[]> => site.lines(on, script);
  const options = `--container-remap-root --container-writable=$HOME/layer`;

  it('keeps it for later steps and jobs', async () => {
    const step = (command: string): string => `srun -w ${node} --image=debian ${options} ${command}`;
    await lines(`mkdir layer; ${step('sh -c "echo first >/file"')}`);
    expect(await lines(`${step('sh -c "cat /file; echo second >>/file"')}; ${step('cat /file')}`)).toEqual([
      ...['first'],
      ...['first', 'second'],
    ]);
  });

  it('has one container at a time', async () => {
    const both = `srun --image=debian ${options} true && srun --image=debian --container-env=X ${options} --volume=tmpfs:/t true`;
    const { stderr } = await site.shell(on, `salloc --quiet -w ${node} bash -c '${both}'`);
    expect(stderr).toMatch(/BERTH_WRITABLE_DIRECTORY: [^]*another container of job \d+ on n\d writes to it/);
  });
});
