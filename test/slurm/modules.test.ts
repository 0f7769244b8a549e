// Modules in jobs: the node's MPI in an image's place, as far as the two fit, and what a site's own modules bring.
import { execFile } from 'node:child_process';
import { chmod, copyFile, mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { beforeAll, describe, expect, it } from 'vitest';
import { LibraryRoot, type LibraryWords } from '../images/libraries.js';
import { compileMpi, compileStatic } from '../images/programs.js';
import { configurations, Site } from './site.js';

const run = promisify(execFile);
const shipped = join(import.meta.dirname, '../../share/modules.d');

const NODES = 2;

// As in mpi.test.ts: the cluster's nodes have one kernel, by which UCX takes them for one.
const NETWORK = 'export UCX_TLS=sysv,self';

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
  const berthConfig = `[modules]\ndirectory = "${modules}"\n[container]\n`;
  site = await Site.start({ nodes: NODES, berthConfig, prepare });
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
    const srun = `${NETWORK}; srun --quiet --image=debian --mpi=${slurm} -N2 -n4`;
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
    expect(listed.modules.map(({ name }) => name)).toEqual(['mpich', 'openmpi-pmix', 'site', 'wrong']);
    expect(listed.modules).toMatchObject([
      { used: 'when asked for' },
      { used: 'when asked for' },
      { used: 'when asked for' },
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
