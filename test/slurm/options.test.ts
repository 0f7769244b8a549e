// Which options a step has: of those of its own command, of its allocation, and of the environment.
import { beforeAll, describe, expect, it } from 'vitest';
import { configurations, Site } from './site.js';

const [configuration] = configurations(2);

/** What a step was given, as the nodes learn it. */
const SAY = '#!/bin/sh\nprintf %s "${SLURM_SPANK_BERTH_OPTIONS:-nothing}" | tr "\\n" " "; echo\n';

let site: Site;
beforeAll(async () => {
  site = await Site.start({
    nodes: 2,
    berthConfig: 'pull_at_launch = false\n[container]\n',
    slurmConf: 'LaunchParameters=use_interactive_step\n',
    prepare: (started) => started.write('say', SAY),
  });
  return () => site.stop();
});

const lines = async (script: string): Promise<string[]> =>
  (await site.lines(configuration, script)).map((line) => line.trim());

/** What a command says that has to be refused. */
async function refused(script: string): Promise<string> {
  const { status, stdout, stderr } = await site.shell(configuration, script);
  expect({ status: status !== 0, stdout }).toEqual({ status: true, stdout: '' });
  return stderr;
}

describe('a command has', () => {
  it('what it is told, as it was written', async () => {
    const options = [
      '--image=debian',
      '--volume=/tmp:/mnt/a:ro',
      '--volume "/home:/mnt/b c"',
      '--container-workdir=/usr',
      '--no-container-remap-root',
      '--container-env=A,B --container-env=C',
      '--module=none',
    ];
    expect(await lines(`srun ${options.join(' ')} ~/say`)).toEqual([
      'image=debian volume=/tmp:/mnt/a:ro volume=/home:/mnt/b c container-workdir=/usr no-container-remap-root ' +
        'container-env=A,B container-env=C module=none',
    ]);
  });

  it.each([
    ['--container-writable', 'image=debian container-writable'],
    ['--container-writable=16M', 'image=debian container-writable=16M'],
  ])('an optional value, or none: %s', async (option, seen) => {
    expect(await lines(`srun --image=debian ${option} ~/say`)).toEqual([seen]);
  });

  it('a hundred volumes', async () => {
    const volumes = Array.from({ length: 100 }, (_, i) => `--volume=/tmp:/mnt/${i}`);
    const [seen = ''] = await lines(`srun --image=debian ${volumes.join(' ')} ~/say`);
    expect(seen.split(' ')).toEqual(['image=debian', ...volumes.map((volume) => volume.slice(2))]);
    expect(await lines(`srun --image=debian ${volumes.join(' ')} sh -c 'ls -d /mnt/* | wc -l'`)).toEqual(['100']);
  });
});

describe('a command within an allocation has', () => {
  const cases = [
    ['~/say', 'image=debian volume=/tmp:/mnt module=none'],
    ['--volume=/usr:/mnt ~/say', 'image=debian volume=/usr:/mnt module=none'],
    ['--container-mounts=/usr:/mnt ~/say', 'image=debian container-mounts=/usr:/mnt module=none'],
    ['--container-workdir=/tmp ~/say', 'image=debian volume=/tmp:/mnt container-workdir=/tmp module=none'],
    ['--container-image=debian ~/say', 'container-image=debian volume=/tmp:/mnt module=none'],
    ['--image=none ~/say', 'image=none'],
    ...['ALL', 'NONE', 'NIL', 'HOME', 'A=1'].map((list) => [
      `--export=${list} ~/say`,
      'image=debian volume=/tmp:/mnt module=none',
    ]),
  ] as const;
  const given = '--image=debian --volume=/tmp:/mnt --module=none';
  const script = cases.map(([srun]) => `srun --quiet -n1 ${srun}`).join('\n');
  const expected = cases.map(([, seen]) => seen);

  it('what the allocation has, unless it is told of the same thing itself: in salloc', async () => {
    await site.write('job.sh', `#!/bin/bash\n${script}\n`);
    expect(await lines(`salloc --quiet ${given} ./job.sh`)).toEqual(expected);
  });

  it.each(['ALL', 'NONE', 'NIL', 'A=1'])('in sbatch --export=%s', async (list) => {
    await site.write('job.sh', `#!/bin/bash\nPATH=/usr/bin:/bin\nHOME=/home/alice\n${script}\n`);
    expect(await lines(`batch --output=out --export=${list} ${given} job.sh; cat out`)).toEqual(expected);
  });

  it('nothing of another job that it was submitted from', async () => {
    await site.write('job.sh', `#!/bin/bash\nsrun ~/say\n`);
    const seen = await lines(`export -f batch
      salloc --quiet ${given} bash -c 'batch --output=out job.sh; cat out; salloc --quiet --image=debian srun ~/say'`);
    expect(seen).toEqual(['nothing', 'image=debian']);
  });

  it('nothing of what a shell outside any job has in its environment', async () => {
    expect(await lines('SLURM_SPANK_BERTH_OPTIONS=image=unknown srun ~/say')).toEqual(['nothing']);
  });
});

describe('a batch script has', () => {
  it('the options of its own lines, and of the command line where that says something of the same thing', async () => {
    const head = ['--image=debian', '--volume=/usr:/mnt/a', '--volume=/usr:/mnt/b', '--container-workdir=/usr'];
    await site.write(
      'job.sh',
      `#!/bin/bash\n${head.map((line) => `#SBATCH ${line}\n`).join('')}cd /tmp\nsrun /home/alice/say\n`,
    );
    expect(await lines('batch --output=out job.sh; cat out')).toEqual([
      'image=debian volume=/usr:/mnt/a volume=/usr:/mnt/b container-workdir=/usr',
    ]);
    expect(
      await lines('batch --output=out --container-mounts=/tmp:/x --container-workdir /tmp job.sh; cat out'),
    ).toEqual(['image=debian container-mounts=/tmp:/x container-workdir=/tmp']);
  });

  it('a container for itself, where it asks for that', async () => {
    await site.write('job.sh', '#!/bin/bash\ncat /image 2>/dev/null || echo the host\n');
    const options = '--output=out --image=debian';
    expect(await lines(`batch ${options} --container-contain=batch job.sh; cat out`)).toEqual(['debian']);
    expect(await lines(`batch ${options} --container-contain=interactive job.sh; cat out`)).toEqual(['the host']);
    expect(await lines(`BERTH_DEFAULT_CONTAIN=batch batch ${options} job.sh; cat out`)).toEqual(['debian']);
  });
});

describe('the environment says what nobody else does', () => {
  it.each([
    ['PYXIS_CONTAINER_IMAGE=debian', '', 'container-image=debian'],
    ['BERTH_DEFAULT_IMAGE=debian PYXIS_CONTAINER_IMAGE=unknown', '', 'image=debian'],
    ['PYXIS_CONTAINER_IMAGE=unknown', '--image=debian', 'image=debian'],
    ['PYXIS_CONTAINER_IMAGE=unknown', '--image=none', 'image=none'],
    ['PYXIS_CONTAINER_MOUNTS=/tmp:/mnt', '--image=debian', 'image=debian container-mounts=/tmp:/mnt'],
    ['BERTH_DEFAULT_VOLUME=/tmp:/mnt', '--image=debian', 'image=debian volume=/tmp:/mnt'],
    ['PYXIS_CONTAINER_MOUNTS=/tmp:/mnt', '--image=debian --volume=/usr:/x', 'image=debian volume=/usr:/x'],
    ['PYXIS_CONTAINER_WORKDIR=/usr', '--image=debian', 'image=debian container-workdir=/usr'],
    ['PYXIS_CONTAINER_NAME=box', '--image=debian', 'image=debian container-name=box'],
    ['PYXIS_CONTAINER_MOUNT_HOME=1', '--image=debian', 'image=debian container-mount-home'],
    ['PYXIS_CONTAINER_REMAP_ROOT=no', '--image=debian', 'image=debian no-container-remap-root'],
    ['PYXIS_CONTAINER_ENTRYPOINT=False', '--image=debian', 'image=debian no-container-entrypoint'],
    ['PYXIS_CONTAINER_ENTRYPOINT_LOG=true', '--image=debian', 'image=debian container-entrypoint-log'],
    ['PYXIS_CONTAINER_WRITABLE=yes', '--image=debian', 'image=debian container-writable'],
    ['PYXIS_CONTAINER_READONLY=0', '--image=debian', 'image=debian container-writable'],
    ['PYXIS_CONTAINER_WRITABLE=yes', '--image=debian --container-readonly', 'image=debian container-readonly'],
    ['PYXIS_CONTAINER_ENV=A', '--image=debian', 'image=debian container-env=A'],
    ['PYXIS_CONTAINER_UNSHARE=ipc', '--image=debian', 'image=debian container-unshare=ipc'],
    ['BERTH_DEFAULT_MODULE=none', '--image=debian', 'image=debian module=none'],
  ])('%s srun %s', async (variables, options, seen) => {
    expect(await lines(`${variables} srun ${options} ~/say`)).toEqual([seen]);
  });

  it('and is not asked in a job that has an image, nor of what is of no use without one', async () => {
    const script = 'PYXIS_CONTAINER_IMAGE=unknown PYXIS_CONTAINER_WORKDIR=/usr srun ~/say';
    expect(await lines(`salloc --quiet --image=debian --container-workdir=/tmp bash -c '${script}'`)).toEqual([
      'image=debian container-workdir=/tmp',
    ]);
    expect(await lines('PYXIS_CONTAINER_WORKDIR=/usr BERTH_DEFAULT_MODULE=none srun ~/say')).toEqual(['nothing']);
  });

  it('but what is wrong with it is told', async () => {
    expect(await refused('PYXIS_CONTAINER_WRITABLE=perhaps srun --image=debian true')).toMatch(
      /BERTH_OPTION: PYXIS_CONTAINER_WRITABLE was given perhaps\n.*why: it takes 1 or 0, true or false, yes or no/,
    );
    expect(await refused('PYXIS_CONTAINER_WRITABLE=1 PYXIS_CONTAINER_READONLY=1 srun --image=debian true')).toMatch(
      /BERTH_OPTION: PYXIS_CONTAINER_READONLY was given 1\n.*why: PYXIS_CONTAINER_WRITABLE says otherwise/,
    );
  });
});

it('an environment file says what the command does not, and its mounts and modules stand before the others', async () => {
  const file = ['image = "debian"', 'mounts = ["/usr:/mnt/a"]', 'workdir = "/usr"', '[env]', 'GREETING = "hello"', ''];
  await site.write('box.toml', file.join('\n'));
  const own = '--environment=./box.toml --volume=/tmp:/mnt/b --container-workdir=/tmp';
  const all = 'image=debian mount=/usr:/mnt/a volume=/tmp:/mnt/b container-workdir=/tmp env=GREETING=hello';
  expect(
    await lines(`srun ${own} ~/say; srun ${own} sh -c 'echo $GREETING; pwd; test -d /mnt/a/bin && ls -d /mnt/b'`),
  ).toEqual([all, 'hello', '/tmp', '/mnt/b']);
  expect(await lines(`salloc --quiet ${own} bash -c 'rm box.toml; srun ~/say'`)).toEqual([all]);
  expect(await refused('srun --environment=./box.toml echo ran')).toContain('box.toml');
});

describe('refused before anything starts', () => {
  it.each([
    ['--volume=/a:/b --container-mounts=/c:/d', 'BERTH_OPTION_CONFLICT: --volume and --container-mounts cannot'],
    ['--container-image=debian', 'BERTH_OPTION_CONFLICT: --image and --container-image cannot'],
    [
      '--container-mount-home --no-container-mount-home',
      'BERTH_OPTION_CONFLICT: --container-mount-home and --no-container-mount-home cannot',
    ],
    [
      '--container-writable --container-readonly',
      'BERTH_OPTION_CONFLICT: --container-writable and --container-readonly cannot',
    ],
    ['--container-workdir=/a --container-workdir=/b', 'BERTH_OPTION: --container-workdir was given both /a and /b'],
    ['--container-workdir=', 'BERTH_OPTION: --container-workdir was given nothing'],
    ["--module=$'a\\tb'", 'BERTH_OPTION: --module was given a?b'],
    ['--container-contain=steps', 'BERTH_OPTION: --container-contain was given steps'],
    ['--volume=$(head -c 33000 /dev/zero | tr "\\0" a)', 'why: all options together may have 32 KiB'],
    // berthd of the login host says so.
    ['--container-workdir=relative', 'BERTH_PATH_RELATIVE'],
  ])('srun --image=debian %s', async (options, told) => {
    for (const command of ['srun', 'salloc']) {
      expect(await refused(`${command} --image=debian ${options} echo ran`)).toContain(told);
    }
  });

  it('an srun that is told what of a job is to be in the container', async () => {
    const told = await refused('srun --image=debian --container-contain=batch echo ran');
    expect(told).toContain('BERTH_OPTION: --container-contain was given batch');
    expect(told).toContain('why: srun starts steps, which are in the container anyway');
  });

  it.each(['', '--image=none'])('srun %s with options that need a container', async (image) => {
    const told = await refused(`srun ${image} --volume=/a:/b echo ran`);
    expect(told).toContain('BERTH_OPTION: --volume was given /a:/b');
    expect(told).toContain('why: no container is asked for: --image, --container-name or --environment says which');
  });

  it('options of an srun in a job, whose image is known already', async () => {
    const told = await refused(`salloc --quiet --image=debian srun --container-workdir=relative echo ran`);
    expect(told).toContain('BERTH_PATH_RELATIVE');
  });

  it('an srun whose allocation has options that somebody has spoilt: they never mean the host', async () => {
    const told = await refused(
      `salloc --quiet --image=debian bash -c "SLURM_SPANK_BERTH_OPTIONS='rubbish=1' srun echo ran"`,
    );
    expect(told).toContain('BERTH_OPTION: SLURM_SPANK_BERTH_OPTIONS was given what is no list of options');
    expect(await lines('srun --image=debian --export=ALL,SLURM_SPANK_BERTH_OPTIONS= cat /image')).toEqual(['debian']);
  });
});

describe('the components of a heterogeneous command', () => {
  it('share what one of them is told', async () => {
    const seen = await lines('srun --quiet --image=debian --volume=/tmp:/mnt -n1 ~/say : -n1 ~/say');
    expect(seen).toEqual(['image=debian volume=/tmp:/mnt', 'image=debian volume=/tmp:/mnt']);
  });

  it('may say the same, but not different things', async () => {
    const same = '--image=debian --volume=/tmp:/mnt -n1 ~/say';
    expect(await lines(`srun --quiet ${same} : ${same}`)).toHaveLength(2);
    const told = await refused(`srun ${same} : --image=debian --volume=/usr:/mnt -n1 echo ran`);
    expect(told).toContain('BERTH_OPTION: --volume was given both /tmp:/mnt and /usr:/mnt');
    expect(told).toContain('why: Slurm would use the same for the whole command');
  });

  it('do not leave one with what it would have inherited, and the other without', async () => {
    const srun = 'srun --quiet --volume=/usr:/mnt -n1 echo ran : -n1 echo ran';
    expect(await refused(`salloc --quiet --image=debian --volume=/tmp:/mnt -n1 : -n1 ${srun}`)).toContain(
      'BERTH_OPTION: --volume was given both /tmp:/mnt and /usr:/mnt',
    );
  });
});

it('srun --help tells of each option, with whose it is', async () => {
  const { stdout } = await site.shell(configuration, 'srun --help');
  const help = stdout.replace(/\s+/g, ' ');
  for (const option of [
    '--image=REF [berth] ',
    '--volume=SRC:DST[:FLAGS] [berth] ',
    '--container-name=NAME[:MODE] [berth] ',
    '--no-container-mount-home [berth] ',
    '--environment=FILE|NAME [berth] ',
  ])
    expect(help).toContain(option);
  expect(help.match(/\[berth\]/g)).toHaveLength(21);
});
