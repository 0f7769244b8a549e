// Files in an image's place: `--image=./app.sqsh`, with private /tmp of Slurm's job_container/tmpfs.
import { execFile } from 'node:child_process';
import { chmod, chown, mkdir, readdir, rm, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { beforeAll, describe, expect, it } from 'vitest';
import { privateTmp } from '../cluster/slurm-configuration.js';
import { compileStatic } from '../images/programs.js';
import { configurations, Site } from './site.js';

const NODES = 2;
const run = promisify(execFile);

let site: Site;
let home: string;
let root: string;
let alice: { uid: number; gid: number };
beforeAll(async () => {
  site = await Site.start({ nodes: NODES, ...privateTmp, images: [] });
  home = join(site.cluster.layout.home, 'alice');
  alice = await stat(home);
  root = join(site.cluster.dir, 'root');
  await mkdir(join(root, 'bin'), { recursive: true });
  await compileStatic('show', join(root, 'bin', 'show'));
  return () => site.stop();
});

/** Puts a squashfs file that says `text` into alice's home directory, and returns its path there. */
async function make(name: string, text: string, mode = 0o644): Promise<string> {
  const path = join(home, name);
  await writeFile(join(root, 'image'), `${text}\n`);
  await rm(path, { force: true });
  await run('mksquashfs', [root, path, '-noappend', '-quiet', '-no-progress', '-all-root', '-comp', 'gzip']);
  await chown(path, alice.uid, alice.gid);
  await chmod(path, mode);
  return `/home/alice/${name}`;
}

/** What the store has of images, names and unfinished work. */
async function inStore(): Promise<{ images: number; unfinished: string[] }> {
  const { store } = site.cluster.layout;
  const images = (await readdir(join(store, 'images/sha256'))).filter((file) => file.endsWith('.squashfs'));
  const unfinished = [...(await readdir(join(store, 'tmp'))), ...(await readdir(join(store, 'leases')))];
  return { images: images.length, unfinished };
}

describe.each(configurations(NODES))('with userns = $userns', (configuration) => {
  const { userns, node } = configuration;
  const shell = (script: string, user = 'alice'): ReturnType<Site['shell']> =>
    site.shell(configuration, script, { user });
  const lines = (script: string): Promise<string[]> => site.lines(configuration, script);

  it('runs on every node and rank, whether given in full or from where one is', async () => {
    const path = await make(`${userns}-app.sqsh`, 'from a file');
    const all = ['from a file', 'from a file', 'from a file', 'from a file'];
    expect(await lines(`srun -N2 -n4 --image=${path} /bin/show`)).toEqual(all);
    expect(await lines(`srun -N2 -n4 --image=./${userns}-app.sqsh /bin/show`)).toEqual(all);
    expect(await lines(`mkdir -p down; cd down; srun -N2 -n4 --image=../${userns}-app.sqsh /bin/show`)).toEqual(all);
  });

  it('sbatch and salloc take it; a name with spaces too', async () => {
    await make(`${userns} my app.sqsh`, 'spaces');
    const image = `--image="./${userns} my app.sqsh"`;
    expect(await lines(`salloc --quiet ${image} srun /bin/show`)).toEqual(['spaces']);
    expect(await lines(`batch --output=out ${image} --wrap 'srun /bin/show; cd /; srun /bin/show'; cat out`)).toEqual([
      'spaces',
      'spaces',
    ]);
  });

  it('an image is made of it once, without a name, and again when it was changed', async () => {
    const path = await make(`${userns}-once.sqsh`, `${userns} first`);
    const before = (await inStore()).images;
    expect(await lines(`srun -N2 --image=${path} /bin/show; srun -N2 --image=${path} /bin/show`)).toEqual(
      Array(4).fill(`${userns} first`),
    );
    expect((await inStore()).images).toBe(before + 1);
    expect(await lines('srun --image=none berth images')).toEqual([
      'NAME  DIGEST  SIZE  AGE  OWNER  USERS  IN USE  SOURCE',
    ]);
    await make(`${userns}-once.sqsh`, `${userns} second`);
    expect(await lines(`srun --image=${path} /bin/show`)).toEqual([`${userns} second`]);
  });

  it('the file may be in the /tmp that the job has for itself', async () => {
    const path = await make(`${userns}-private.sqsh`, 'in private');
    const script = `srun --image=none cp ${path} /tmp/own.sqsh; srun --image=/tmp/own.sqsh /bin/show`;
    expect(await lines(`salloc --quiet -w ${node} bash -c '${script}'`)).toEqual(['in private']);
  });

  it("berth ps shows the file's path", async () => {
    const path = await make(`${userns}-app.sqsh`, 'from a file');
    expect(
      (
        await lines(`salloc --quiet -w ${node} bash -c 'srun --image=${path} /bin/show; srun --image=none berth ps'`)
      ).join(),
    ).toContain(path);
  });

  it('a tar archive will do, also a compressed one', async () => {
    await writeFile(join(root, 'image'), 'from tar\n');
    const path = join(home, `${userns}.tar.gz`);
    await run('tar', ['-C', root, '-czf', path, '.']);
    expect(await lines(`srun --image=./${userns}.tar.gz /bin/show`)).toEqual(['from tar']);
  });

  it('nobody runs a file that they may not read, not even what its owner has run', async () => {
    const path = await make(`${userns}-secret.sqsh`, 'of alice', 0o600);
    await chmod(home, 0o755);
    expect(await lines(`srun --image=${path} /bin/show`)).toEqual(['of alice']);
    const { status, stdout, stderr } = await shell(`cd /; srun -w ${node} --image=${path} /bin/show`, 'bob');
    expect(stderr).toContain(`BERTH_FILE_UNUSABLE: ${path} cannot be used as an image on ${node}`);
    expect(stderr).toMatch(/why: permission denied/i);
    expect({ failed: status !== 0, stdout }).toEqual({ failed: true, stdout: '' });
  });

  it.each([
    ['is missing', 'true', /no such file/i],
    ['is a directory', 'mkdir -p FILE', /it is a directory/],
    ['is a FIFO', 'rm -rf FILE; mkfifo FILE', /it is a FIFO/],
    ['is a device', 'rm -rf FILE; ln -s /dev/zero FILE', /it is a device/],
    ['is a descriptor of whoever opens it', 'rm -rf FILE; ln -s /proc/self/fd/3 FILE', /symbolic link/],
    ['is no image', 'rm -rf FILE; echo nothing >FILE', /neither a tar archive nor a squashfs file/],
    ['is empty', 'rm -rf FILE; : >FILE', /it is empty/],
    ['is half an image', `rm -rf FILE; head -c 3000 ${userns}-secret.sqsh >FILE`, /why: \S/],
  ])('one that %s is a clear error, and leaves nothing', async (_, prepare, why) => {
    const before = await inStore();
    const { status, stdout, stderr } = await shell(
      `${prepare.replaceAll('FILE', `./${userns}-odd`)}; srun -n2 --image=./${userns}-odd /bin/show`,
    );
    expect(stderr).toMatch(/berth: BERTH_(FILE_UNUSABLE|IMPORT_FAILED): /);
    expect(stderr).toMatch(why);
    expect(stderr).toMatch(/hint: \S/);
    expect({ failed: status !== 0, stdout }).toEqual({ failed: true, stdout: '' });
    expect(await inStore()).toEqual({ ...before, unfinished: [] });
    expect(await lines('sinfo -h -o %T | sort -u')).not.toContain('drained');
  });

  it('one that is taken for a name, for want of a "/", is told', async () => {
    await make(`${userns}-here.sqsh`, 'never asked for');
    const { status, stderr } = await shell(`srun --image=${userns}-here.sqsh /bin/show`);
    expect(stderr).toContain(`${userns}-here.sqsh is taken for a name: the file here is --image=./${userns}-here.sqsh`);
    expect(status).not.toBe(0);
  });

  it('a link that is turned elsewhere meanwhile gives nobody what they may not read', async () => {
    await make(`${userns}-secret.sqsh`, 'of alice', 0o600);
    await make(`${userns}-open.sqsh`, 'for all');
    const flip = `cd /tmp; while :; do ln -sfn /home/alice/${userns}-secret.sqsh l; ln -sfn /home/alice/${userns}-open.sqsh l; done`;
    const { stdout } = await shell(
      `cd ~; (${flip.replace('/tmp', '~')}) & flip=$!; for i in $(seq 6); do srun --image=$HOME/l /bin/show 2>/dev/null; done; kill $flip`,
      'bob',
    );
    expect(new Set(stdout.split('\n'))).not.toContain('of alice');
  });
});

describe.each(configurations(NODES))('where [store] files says otherwise, with userns = $userns', (configuration) => {
  const { userns, node } = configuration;

  /** Runs the file's program on a node whose policy is this. */
  async function underPolicy(policy: string, path: string): ReturnType<Site['shell']> {
    const file = join(site.cluster.dir, 'policy.toml');
    const { stdout: text } = await site.cluster.exec(node, ['cat', '/etc/berth/berth.toml']);
    await writeFile(file, text.replace('[store]\n', `[store]\nfiles = "${policy}"\n`));
    await site.cluster.stopDaemon(node);
    await site.cluster.startDaemon(node, { config: file });
    try {
      return await site.shell(configuration, `srun -w ${node} -n4 --image=${path} /bin/show`);
    } finally {
      await site.cluster.stopDaemon(node);
      await site.startDaemon(node);
    }
  }

  it('"refuse" is an error that says what to do instead', async () => {
    const { status, stderr } = await underPolicy('refuse', await make(`${userns}-policy.sqsh`, 'as it is'));
    expect(status).not.toBe(0);
    expect(stderr).toContain('berth: BERTH_FILE_REFUSED: ');
    expect(stderr).toContain('berth import NAME');
  });

  it('"mount-unsafely" has the kernel mount it, and nothing comes into the store', async () => {
    const path = await make(`${userns}-policy.sqsh`, 'as it is');
    const before = await inStore();
    const { stdout, stderr } = await underPolicy('mount-unsafely', path);
    expect({ stdout, stderr }).toEqual({ stdout: 'as it is\n'.repeat(4), stderr: '' });
    expect(await inStore()).toEqual(before);
  });

  it('"mount-unsafely" with a file that is none', async () => {
    await writeFile(join(home, `${userns}-none`), 'x'.repeat(10_000));
    const { status, stderr } = await underPolicy('mount-unsafely', `/home/alice/${userns}-none`);
    expect(status).not.toBe(0);
    expect(stderr).toMatch(/berth: BERTH_FILE_UNUSABLE: .*-none cannot be used as an image/);
  });
});
