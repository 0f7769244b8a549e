// Modules in jobs: the node's MPI in an image's place, as far as the two fit, and what a site's own modules bring.
import { execFile } from 'node:child_process';
import { chmod, copyFile, mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { beforeAll, describe, expect, it } from 'vitest';
import { artifacts } from '../cluster/layout.js';
import { EXPORT_MPI_NETWORK } from '../cluster/mpi.js';
import { LibraryRoot, type LibraryWords } from '../images/libraries.js';
import { compileMpi, compileStatic } from '../images/programs.js';
import { configurations, Site } from './site.js';

const run = promisify(execFile);
const shipped = join(import.meta.dirname, '../../share/modules.d');

const NODES = 2;

type Libraries = readonly (readonly [file: string, words: LibraryWords & { readonly soname: string }])[];

const LIBC = ['libc.so.6', { soname: 'libc.so.6', defines: ['GLIBC_2.2.5', 'GLIBC_2.34'] }] as const;

/** Images that the node's MPICH does not fit. */
const strangers: readonly (readonly [name: string, libraries: Libraries])[] = [
  ['other-mpi', [['libmpi.so.40.30.4', { soname: 'libmpi.so.40' }], LIBC]],
  ['newer-mpi', [['libmpi.so.12.99.0', { soname: 'libmpi.so.12' }], LIBC]],
  ['old-libc', [['libc.so.6', { soname: 'libc.so.6', defines: ['GLIBC_2.2.5', 'GLIBC_2.17'] }]]],
];

let site: Site;
let modules: string;
beforeAll(async () => {
  // Nodes have a /tmp of their own.
  modules = await mkdtemp('/var/tmp/berth-modules-');
  await chmod(modules, 0o755);
  for (const name of ['mpich', 'openmpi-pmix'])
    await copyFile(join(shipped, `${name}.toml`), join(modules, `${name}.toml`));
  await writeSiteModules();
  await writeSlurmModule();
  const berthConfig = `[modules]\ndirectory = "${modules}"\n[container]\n`;
  const slurmConf = 'LaunchParameters=use_interactive_step\n';
  site = await Site.start({ nodes: NODES, berthConfig, slurmConf, prepare });
  return async () => {
    try {
      await site.stop();
    } finally {
      await rm(modules, { recursive: true });
    }
  };
});

async function writeSiteModules(): Promise<void> {
  const data = join(modules, 'data');
  await mkdir(data);
  await writeFile(join(data, 'settings'), 'of the site\n');
  const words = [
    `[[mounts]]\nsource = "${data}"\ndestination = "/opt/site"\nread_only = true`,
    `[[copies]]\nsource = "${join(data, 'settings')}"\ndestination = "/etc/site/settings"`,
    '[environment]\nset.SITE_JOB = "%u %j"\nprepend.PATH = "/opt/site/bin"\nappend.MANPATH = "/opt/site/man"\nunset = ["GONE"]',
  ];
  await writeFile(join(modules, 'site.toml'), words.join('\n'));
}

/** What comes with Berth, and Berth's plugin where this cluster has it. */
async function writeSlurmModule(): Promise<void> {
  const text = await readFile(join(shipped, 'slurm.toml'), 'utf8');
  const plugin = `[[mounts]]\nsource = "${artifacts.plugin}"\n\n`;
  await writeFile(join(modules, 'slurm.toml'), text.replace('[environment]', `${plugin}[environment]`));
}

async function prepare({ cluster }: Site): Promise<void> {
  const home = join(cluster.layout.home, 'alice');
  await compileMpi('loaded', 'mpich', join(home, 'loaded.mpich'));
  await compileMpi('loaded', 'openmpi', join(home, 'loaded.openmpi'));
  for (const [name, libraries] of strangers) {
    const root = new LibraryRoot(cluster.dir);
    for (const [file, words] of libraries) {
      root.add(`usr/lib/${file}`, words);
      if (words.soname !== file) root.link(`usr/lib/${words.soname}`, file);
    }
    await compileStatic('started', join(root.path, 'started'));
    root.cache('/usr/lib');
    const { status, stderr } = await cluster.exec('login', ['berth', 'import', name, root.path], { timeout: 60_000 });
    root.remove();
    if (status !== 0) throw new Error(stderr);
  }
}

describe.each(configurations(NODES))('with userns = $userns', (configuration) => {
  const lines = (script: string): Promise<string[]> => site.lines(configuration, script);

  it.each([
    { module: 'mpich', mpi: 'mpich', slurm: 'pmi2', library: 'libmpich.so.12', file: 'libmpich.so.12.2.2' },
    { module: 'openmpi-pmix', mpi: 'openmpi', slurm: 'pmix', library: 'libmpi.so.40', file: 'libmpi.so.40.30.4' },
  ])("the node's MPI takes the place of the image's: $module", async ({ module, mpi, slurm, library, file }) => {
    const srun = `${EXPORT_MPI_NETWORK}; srun --quiet --image=debian --mpi=${slurm} -N2 -n4`;
    const [own = '', ...ownLibraries] = await lines(`${srun} ./loaded.${mpi}`);
    expect(own).toBe('ranks 4 sum 4');
    expect(ownLibraries.filter((path) => path.includes('/.berth/'))).toEqual([]);
    expect(ownLibraries).toEqual(expect.arrayContaining([expect.stringMatching(`^/usr/lib/.*/${file}$`) as string]));

    const [hosts = '', ...hostLibraries] = await lines(`${srun} --module=${module} ./loaded.${mpi}`);
    expect(hosts).toBe('ranks 4 sum 4');
    expect(hostLibraries).toContain(`/.berth/mpi/lib/${library}`);
    expect(hostLibraries.filter((path) => /^\/usr\/lib\/[^/]+\/lib(?:mpi|mpich|ucp|ucs)\./.test(path))).toEqual([]);
  });

  it.each([
    {
      image: 'other-mpi',
      code: 'BERTH_MPI_ABI',
      told: "the host's MPI (libmpich.so.12.2.2), which the module mpich brings, does not fit the image's (libmpi.so.40.30.4)",
    },
    {
      image: 'newer-mpi',
      code: 'BERTH_MPI_ABI',
      told: "the host's MPI (libmpich.so.12.2.2), which the module mpich brings, does not fit the image's (libmpi.so.12.99.0)",
    },
    {
      image: 'old-libc',
      code: 'BERTH_MPI_GLIBC',
      told: 'of libc.so.6, and the image has GLIBC_2.17',
    },
  ])('a program of the image $image is not started with an MPI that does not fit', async ({ image, code, told }) => {
    const without = await lines(`srun --quiet --image=${image} -n2 /started`);
    expect(without).toEqual(['started', 'started']);
    const { status, stdout, stderr } = await site.shell(
      configuration,
      `srun --quiet --image=${image} --module=mpich -n2 /started`,
    );
    expect(stdout).toBe('');
    expect(status).not.toBe(0);
    expect(stderr).toContain(`${code}: `);
    expect(stderr).toContain(told);
  });

  it("a site's module brings its directory, its file and its variables", async () => {
    const script =
      'cat /opt/site/settings /etc/site/settings; echo "$SITE_JOB"; echo "${PATH%%:*}"; echo "$MANPATH"; echo "${GONE-gone}"; ' +
      'touch /opt/site/x 2>/dev/null || echo read-only';
    const told = await lines(
      `export GONE=1; srun --quiet --image=debian --module=site sh -c '${script}'; squeue -h -o %A -t all | sort -n | tail -1`,
    );
    expect(told.slice(0, 2)).toEqual(['of the site', 'of the site']);
    expect(told[2]).toMatch(/^alice \d+$/);
    expect(told.slice(3, 7)).toEqual(['/opt/site/bin', '/opt/site/man', 'gone', 'read-only']);
  });

  it.each([
    ['--module=mpihc', 'BERTH_MODULE_UNKNOWN: there is no module mpihc', 'did you mean mpich?'],
    ['--module=mpich,openmpi-pmix', 'BERTH_MODULE_CONFLICT: the modules', 'cannot be used together'],
  ])('%s is an error, and nothing is started', async (option, ...told) => {
    const { status, stdout, stderr } = await site.shell(
      configuration,
      `srun --quiet --image=debian ${option} echo ran`,
    );
    expect({ status: status === 0, stdout }).toEqual({ status: false, stdout: '' });
    for (const words of told) expect(stderr).toContain(words);
  });

  describe("with the module slurm, Slurm's commands work in the container", () => {
    const contained = (what: string, image = 'debian'): string =>
      `--image=${image} --module=slurm --container-contain=${what}`;

    /** What a script prints that is in the container itself, with its errors. */
    async function inBatch(script: string, image?: string): Promise<string[]> {
      await site.write('job.sh', `#!/bin/bash\n${script}\n`);
      return lines(`rm -f out; batch -N${NODES} ${contained('batch', image)} -o out job.sh; cat out`);
    }

    it('srun: the ranks of all nodes are in the container of the job, with the environment of the script', async () => {
      const here = 'echo "$SLURMD_NODENAME $(cat /image) $BERTH_IMAGE_DIGEST $(readlink /proc/self/ns/mnt)"';
      await site.write(
        'rank.sh',
        `#!/bin/bash\n${here}\n[ $SLURM_PROCID = 3 ] && echo "$MINE $PATH $LD_LIBRARY_PATH"; true`,
      );
      const script = `${here}; export MINE='mine too'; echo "$MINE $PATH $LD_LIBRARY_PATH"; srun -n4 ./rank.sh`;
      const [own = '', environment = '', ...ranks] = await inBatch(script);
      const [first = '', second = ''] = configuration.nodes;
      expect(own).toMatch(new RegExp(`^${first} debian sha256:[0-9a-f]{64} mnt:`));
      const onFirst = ranks.filter((line) => line === own);
      const onSecond = ranks.filter((line) =>
        line.startsWith(`${second} ${own.split(' ').slice(1, 3).join(' ')} mnt:`),
      );
      expect([onFirst, onSecond].map(({ length }) => length)).toEqual([2, 2]);
      expect(ranks.filter((line) => line === environment)).toEqual([environment]);
      expect(ranks).toHaveLength(5);
    });

    it('srun: the image is what it was when the job was submitted', async () => {
      const moving = `moving-${configuration.userns}`;
      await lines(`berth tag debian ${moving}`);
      const wait = 'touch waiting; until [ -e release ]; do sleep 0.02; done';
      const running = inBatch(`cat /image; ${wait}; srun -n2 cat /image`, moving);
      running.catch(() => undefined);
      await lines('until [ -e waiting ]; do sleep 0.02; done; rm waiting');
      await site.importTiny(moving);
      await lines('touch release');
      expect(await running).toEqual(['debian', 'debian', 'debian']);
      await lines('rm release');
    });

    it('srun --mpi=pmix and --mpi=pmi2 start MPI programs', async () => {
      const script = `${EXPORT_MPI_NETWORK}; srun -n4 --mpi=pmix ./loaded.openmpi; srun -n4 --mpi=pmi2 ./loaded.mpich`;
      const said = (await inBatch(script)).filter((line) => !line.startsWith('/'));
      expect(said).toEqual(['ranks 4 sum 4', 'ranks 4 sum 4']);
    });

    it('srun --image=none is on the host, and does not say that it is in a container', async () => {
      const look = 'echo "${BERTH_CONTAINER-none} ${BERTH_IMAGE-none} ${BERTH_IMAGE_DIGEST-none}"; ls /image 2>&1';
      const [variables, image] = await inBatch(`srun -n1 -N1 --quiet --image=none sh -c '${look}' 2>/dev/null`);
      expect(variables).toBe('none none none');
      expect(image).toContain('No such file');
    });

    it('squeue, scontrol, sbatch and scancel', async () => {
      const script = `
        squeue --noheader --jobs=$SLURM_JOB_ID --format=%u
        scontrol show hostnames $SLURM_JOB_NODELIST
        other=$(sbatch --parsable --hold --output=/dev/null --wrap true)
        scancel $other; scontrol show job $other | grep --only-matching JobState=CANCELLED`;
      expect(await inBatch(script)).toEqual(['alice', ...configuration.nodes, 'JobState=CANCELLED']);
    });

    it('where Slurm has a user of its own, whose name the container has by this module', async () => {
      const script = `sed s/^SlurmUser=root/SlurmUser=$1/ /etc/slurm/slurm.conf >own.conf; SLURM_CONF=$PWD/own.conf squeue -h -o %u; grep -h ^slurm: /etc/passwd /etc/group`;
      await site.write('ask.sh', `#!/bin/bash\n${script}\n`);
      const told = await inBatch('./ask.sh slurm');
      expect(told).toContain('alice');
      expect(told).toEqual(
        expect.arrayContaining([expect.stringMatching(/^slurm:x:\d+:\d+:/), expect.stringMatching(/^slurm:x:\d+:$/)]),
      );
      expect(await lines('srun --image=debian grep -c ^slurm: /etc/passwd || true')).toEqual(['0']);
      expect((await inBatch('./ask.sh unknown 2>&1')).join()).toContain('Invalid user for SlurmUser unknown');
    });

    it('in the shell of a salloc, too', async () => {
      await site.write(
        'typed',
        'stty -echo; PS1=; cat /image; srun -n2 cat /image; echo "job of $(squeue --noheader --me --format=%u)"; exit\n',
      );
      const command = `salloc --quiet -N${NODES} ${contained('interactive')}`;
      const seen = await lines(`script --quiet --return --command '${command}' /dev/null <typed`);
      expect(seen.map((line) => line.trim()).filter((line) => /^(debian|job of .*e)$/.test(line))).toEqual([
        ...['debian', 'debian', 'debian'],
        'job of alice',
      ]);
    });
  });

  it('of a job share a container only with those that have the same modules', async () => {
    const told = await lines(
      'salloc --quiet --image=debian -N1 sh -c \'srun sh -c "echo \\${SITE_JOB:-none}"; srun --module=site sh -c "echo \\${SITE_JOB:-none}"\'',
    );
    expect(told).toEqual(['none', expect.stringMatching(/^alice \d+$/)]);
  });
});

it('are listed, with when they are used, and why one cannot be', async () => {
  await writeFile(join(modules, 'wrong.toml'), 'describtion = "x"\n');
  try {
    const { stdout, status } = await site.cluster.exec('login', ['berth', 'modules', '--json'], { user: 'alice' });
    expect(status).toBe(0);
    const listed = JSON.parse(stdout) as { modules: { name: string }[] };
    expect(listed.modules.map(({ name }) => name)).toEqual(['mpich', 'openmpi-pmix', 'site', 'slurm', 'wrong']);
    expect(listed.modules).toMatchObject([
      { used: 'when asked for' },
      { used: 'when asked for' },
      { used: 'when asked for' },
      { description: "Slurm's commands" },
      { fault: expect.stringContaining('describtion') as string },
    ]);
  } finally {
    await rm(join(modules, 'wrong.toml'));
  }
});

it('are read anew for the next container', async () => {
  const [configuration] = site.configurations;
  await writeFile(join(modules, 'late.toml'), '[environment]\nset.LATE = "1"');
  const ask = 'srun --quiet --image=debian --module=late sh -c \'echo "$LATE"\'';
  expect(await site.lines(configuration, ask)).toEqual(['1']);
  await writeFile(join(modules, 'late.toml'), '[environment]\nset.LATE = "2"');
  expect(await site.lines(configuration, ask)).toEqual(['2']);
  await run('rm', [join(modules, 'late.toml')]);
});

it("root in a container can ask Slurm, but starts nothing: Slurm's commands take themselves for root's", async () => {
  const [on] = site.configurations;
  const root = 'srun --quiet --image=debian --module=slurm --container-remap-root';
  const { status, stdout, stderr } = await site.shell(on, `${root} bash -c 'squeue -h -o %i; srun --overlap echo ran'`);
  expect(stdout).toMatch(/^\d+\n$/);
  expect(stderr).toContain('Invalid user id');
  expect(status).not.toBe(0);
});
