// --container-save: what a step has changed in its container becomes an image file.
import { execFile } from 'node:child_process';
import { mkdir, readdir, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterEach, beforeAll, describe, expect, it } from 'vitest';
import { expectNothingLeft, settled } from './leftovers.js';
import { configurations, Site, type Configuration } from './site.js';

const NODES = 2;
const run = promisify(execFile);

let site: Site;
let home: string;
beforeAll(async () => {
  site = await Site.start({ nodes: NODES, slurmConf: 'UnkillableStepTimeout=10\n' });
  home = join(site.cluster.layout.home, 'alice');
  return () => site.stop();
});
afterEach(async () => {
  await expectNothingLeft(site.cluster);
  expect(await settled(unfinished)).toEqual([]);
});

/** Files that were not finished, in alice's home directory. */
async function unfinished(): Promise<string[]> {
  return (await readdir(home)).filter((name) => name.startsWith('.berth-'));
}

/** What root does in a container. */
const CHANGES = `
set -e
echo new >/new; chmod 640 /new; chown 5:7 /new
rm /etc/debian_version
rm -r /usr/share/doc; mkdir /usr/share/doc; echo only >/usr/share/doc/only
ln -s new /link; ln /new /hard; mkfifo /fifo
truncate -s 1G /sparse; echo end >>/sparse
deep=/deep/$(printf 'd%.0s' $(seq 200))/$(printf 'e%.0s' $(seq 200)); mkdir -p $deep; echo deep >$deep/file
chmod 4755 /bin/true; chmod 700 /srv
`;

/** What of that shows. */
const LOOK = `
cat /new /usr/share/doc/only /deep/*/*/file
ls -A /usr/share/doc
test -e /etc/debian_version || echo gone
stat -c '%n %a %u %g %h' /new /bin/true /srv
readlink /link; stat -c %F /fifo; stat -c %s /sparse; tail -c 4 /sparse
`;

describe.each(configurations(NODES))('with userns = $userns', (configuration) => {
  const { userns, node } = configuration;
  const shell = (script: string): ReturnType<Site['shell']> => site.shell(configuration, script);
  const lines = (script: string): Promise<string[]> => site.lines(configuration, script);

  const file = `${userns}.sqsh`;
  const saving = `--image=debian --container-save=$HOME/${file}`;
  // Any user may write here, in any Debian.
  const place = '/run/lock/mine';

  it('what a plain user has written is in the file, which runs as an image', async () => {
    const write = `echo written >${place}; chmod 640 ${place}`;
    const { stdout, stderr, status } = await shell(`srun -n2 ${saving} sh -c '${write}'`);
    expect({ stdout, status }).toEqual({ stdout: '', status: 0 });
    expect(stderr).toMatch(new RegExp(`berth: the container is saved as /home/alice/${file} \\(\\d+ bytes\\)`));
    const look = `cat ${place} /image; stat -c '%U %a' ${place}; stat -c '%u %a' /etc/shadow`;
    expect(await lines(`srun --image=./${file} sh -c "${look}"`)).toEqual(['written', 'debian', 'alice 640', '0 640']);
    const { uid, mode } = await stat(join(home, file));
    expect({ uid, mode: (mode & 0o777).toString(8) }).toEqual({ uid: (await stat(home)).uid, mode: '600' });
  });

  it('nothing of what Berth adds to a container is in the file', async () => {
    const path = join(home, file);
    const { stdout: passwd } = await run('unsquashfs', ['-cat', path, 'etc/passwd']);
    expect(passwd).not.toContain('alice');
    const { stdout: list } = await run('unsquashfs', ['-lc', path], { maxBuffer: 64 * 1024 ** 2 });
    expect(list).not.toContain('squashfs-root/home/alice');
  });

  it("the step's exit status stays what its tasks made it", async () => {
    const { status } = await shell(`rm ${file}; srun ${saving} sh -c 'exit 3'; code=$?; test -s ${file} && exit $code`);
    expect(status).toBe(3);
  });

  it('of several nodes, the first one saves', async () => {
    await lines(`srun -N2 -n4 ${saving} sh -c 'echo $SLURM_NODEID >${place}'`);
    expect(await lines(`srun --image=./${file} cat ${place}`)).toEqual(['0']);
  });

  it('a file that is there is replaced, and only by a whole one', async () => {
    await lines(`echo before >${file}; srun ${saving} sh -c 'echo after >${place}'`);
    expect(await lines(`srun --image=./${file} cat ${place}`)).toEqual(['after']);
  });

  it.each([
    ['a directory', '$HOME', /why: illegal operation on a directory/],
    ['where one may not write', '/home/bob/file', /why: permission denied/],
    ['below a file', '/etc/passwd/file', /why: not a directory/],
    ['in a directory that is not there', '/none/file', /\/none\/file on n\d[^]*why: no such file or directory/],
  ])('as %s is refused before anything is started', async (_, path, why) => {
    const { stdout, stderr, status } = await shell(`srun --image=debian --container-save=${path} echo started`);
    expect(stderr).toContain('berth: BERTH_SAVE_TARGET: ');
    expect(stderr).toMatch(why);
    expect(stderr).not.toContain('BERTH_SAVE: ');
    expect({ stdout, status }).toEqual({ stdout: '', status: 1 });
  });

  it('where there is no room for it, nothing is left', async () => {
    const mount = ['mount', '-t', 'tmpfs', '-o', 'size=8M,mode=1777', 'tmpfs', '/mnt'];
    expect((await site.cluster.exec(node, mount)).status).toBe(0);
    try {
      const { stderr } = await shell(`srun -w ${node} --image=debian --container-save=/mnt/file true`);
      expect(stderr).toMatch(/BERTH_SAVE: [^]*why: no space left on device/);
      expect((await site.cluster.exec(node, ['ls', '-A', '/mnt'])).stdout).toBe('');
    } finally {
      await site.cluster.exec(node, ['umount', '/mnt']);
    }
  });

  it('what was killed is not saved', async () => {
    const { status, stdout, stderr } = await shell(`rm -f ${file}; srun ${saving} sh -c 'echo started; kill -9 $$'`);
    expect({ hasFailed: status !== 0, stdout, stderr }).toMatchObject({ hasFailed: true, stdout: 'started\n' });
    expect(await readdir(home)).not.toContain(file);
  });

  it('a named container of an earlier step can be saved by a later one', async () => {
    const name = '--container-name=mine';
    const first = `srun ${name} --image=debian --container-writable sh -c "echo first >${place}"`;
    const second = `srun ${name} --container-save=$HOME/${file} sh -c "echo second >>${place}"`;
    await lines(`salloc --quiet -w ${node} bash -c '${first}; ${second}'`);
    expect(await lines(`srun --image=./${file} cat ${place}`)).toEqual(['first', 'second']);
  });

  it('a step that saves does not share the read-only container of one that does not', async () => {
    const script = `srun --image=debian true; srun ${saving} sh -c "echo x >${place}"; cat /dev/null`;
    await lines(`salloc --quiet -w ${node} bash -c '${script}'`);
    expect(await lines(`srun --image=./${file} cat ${place}`)).toEqual(['x']);
  });

  it('berthd may be killed meanwhile: it is told, and nothing is left', async () => {
    const step = shell(`rm -f ${file}; srun -w ${node} ${saving} true`);
    expect(await settled(async () => ((await unfinished()).length > 0 ? [] : ['nothing yet']))).toEqual([]);
    await site.cluster.killDaemon(node);
    const { stderr } = await step;
    await site.startDaemon(node);
    expect(stderr).toContain('berth: BERTH_DAEMON_UNREACHABLE: ');
    expect(await readdir(home)).not.toContain(file);
  });
});

describe('of root in a container', () => {
  const [on] = configurations(NODES);
  const lines = (script: string): Promise<string[]> => site.lines(on, script);

  it('owners, modes, links, holes and what is gone are in the file as they were', async () => {
    await site.write('changes', `#!/bin/sh\n${CHANGES}`);
    await site.write('look', `#!/bin/sh\n${LOOK}`);
    await lines('srun --image=debian --container-remap-root --container-save=$HOME/root.sqsh ~/changes');
    expect(await lines('srun --image=./root.sqsh --container-remap-root ~/look')).toEqual([
      ...['new', 'only', 'deep', 'only', 'gone'],
      ...['/new 640 5 7 2', '/bin/true 4755 0 0 1', '/srv 700 0 0 2'],
      ...['new', 'fifo', String(2 ** 30 + 4), 'end'],
    ]);
  });

  it('the file can be imported too', async () => {
    const { status } = await site.cluster.exec('login', ['berth', 'import', 'saved', join('/home/alice', 'root.sqsh')]);
    expect(status).toBe(0);
    expect(await lines('srun --image=saved cat /usr/share/doc/only')).toEqual(['only']);
  });

  it('scancel ends the saving, and drains no node', async () => {
    const write = 'head -c 1500M /dev/urandom >/big; exec sleep 6';
    const options = '--container-remap-root --container-writable=2G --container-save=$HOME/big.sqsh';
    const [job = ''] = await lines(`sbatch --parsable --wrap 'srun --image=debian ${options} sh -c "${write}"'`);
    const begun = async (): Promise<string[]> => ((await unfinished()).length > 0 ? [] : ['not begun']);
    expect(await settled(begun, 60_000)).toEqual([]);
    await lines(`scancel ${job}`);
    expect(await settled(unfinished, 20_000)).toEqual([]);
    expect(await readdir(home)).not.toContain('big.sqsh');
    await expectNothingLeft(site.cluster);
    expect(await lines('sinfo -h -o %T | sort -u')).toEqual(['idle']);
  }, 120_000);
});

describe('extended attributes are in the file, and still there when that is saved again', () => {
  const getfattr = 'getfattr --dump --encoding=hex --match=- --absolute-names';

  // An image of these programs alone is saved in a moment.
  beforeAll(async () => {
    const root = join(site.cluster.dir, 'attributes');
    const copy = `
      cd ${root}
      for program in dash touch cp setfattr getfattr; do
        echo /usr/bin/$program; ldd /usr/bin/$program | grep -o '/lib[^ ]*'
      done | sort -u | xargs cp --parents --target-directory=.
      ln -s dash usr/bin/sh; mkdir -m 1777 open`;
    await mkdir(root);
    await run('sh', ['-c', copy]);
    const { status, stderr } = await site.cluster.exec('login', ['berth', 'import', 'attributes', root]);
    await rm(root, { recursive: true });
    expect({ status, stderr: status === 0 ? '' : stderr }).toEqual({ status: 0, stderr: '' });
  });

  async function saveTwiceAndLook(
    configuration: Configuration,
    root: string,
    set: string,
    look: string,
  ): Promise<string[]> {
    const srun = `srun --quiet -w ${configuration.node} ${root} --container-env=PATH`;
    return site.lines(
      configuration,
      `export PATH=/usr/bin:/bin
      ${srun} --image=attributes --container-save=$HOME/once.sqsh sh -c '${set}' >&2
      ${srun} --image=./once.sqsh --container-save=$HOME/twice.sqsh touch /open/other >&2
      ${srun} --image=./twice.sqsh ${getfattr} ${look}
      rm once.sqsh twice.sqsh`,
    );
  }

  it.each(configurations(NODES))("a user's own, with userns = $userns", async (configuration) => {
    const set = 'touch /open/f; setfattr -n user.text -v "a b" /open/f; setfattr -n user.none /open/f';
    expect(await saveTwiceAndLook(configuration, '', set, '/open/f')).toEqual([
      ...['# file: /open/f', 'user.none=0x', 'user.text=0x612062'],
    ]);
  });

  it("what root in a container gives: its own, and a program's capabilities", async () => {
    // CAP_NET_RAW, permitted and effective (linux/capability.h, VFS_CAP_REVISION_2).
    const capability = `0x0100000200200000${'0'.repeat(24)}`;
    const set = `cp /usr/bin/touch /net; setfattr -n security.capability -v ${capability} /net; setfattr -n user.text -v 1 /usr/bin/dash /open`;
    const [on] = configurations(NODES);
    const seen = await saveTwiceAndLook(on, '--container-remap-root', set, '/net /usr/bin/dash /open');
    expect(seen).toEqual([
      ...['# file: /net', `security.capability=${capability}`],
      ...['# file: /usr/bin/dash', 'user.text=0x31', '# file: /open', 'user.text=0x31'],
    ]);
  });
});
