// The modules that come with Berth: each is sound, and those for MPI bring this machine's.
import { execFile } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { promisify } from 'node:util';
import { describe, expect, it } from 'vitest';
import { HostMpiFinder } from '../../src/modules/mpi/host.js';
import type { Module } from '../../src/modules/module.js';
import { readModule } from '../../src/modules/read.js';

const directory = join(import.meta.dirname, '../../share/modules.d');

function read(name: string): Module {
  const file = join(directory, `${name}.toml`);
  const { module, problems } = readModule(name, file, readFileSync(file, 'utf8'));
  expect(problems).toEqual([]);
  return module;
}

const names = readdirSync(directory).map((name) => name.replace(/\.toml$/, ''));

describe('of the modules that come with Berth', () => {
  it('there are those that sites have asked for', () => {
    expect(names.sort()).toEqual(['cvmfs', 'gpu', 'mpich', 'openmpi-pmix', 'rdma', 'scratch', 'slurm']);
  });

  it.each(names)('%s is sound, says what it is for, and names only others that there are', (name) => {
    const { description, requires, conflicts, after, mandatory } = read(name);
    expect(description).not.toBe('');
    expect(names).toEqual(expect.arrayContaining([...requires, ...conflicts, ...after]));
    expect(mandatory).toBe(false);
  });

  it.each([
    ['mpich', ['libmpich.so.12', 'libmpichfort.so.12', 'libmpi.so.12'], ['libucp.so.0', 'libhwloc.so.15']],
    ['openmpi-pmix', ['libmpi.so.40', 'libmpi_mpifh.so.40'], ['libopen-rte.so.40', 'libpmix.so.2', 'libucp.so.0']],
  ])("%s brings this machine's MPI, with what it needs and without the C runtime", async (name, libraries, needed) => {
    const { mpi } = read(name);
    if (!mpi) throw new Error('it has no [mpi]');
    const found = await new HostMpiFinder().find(mpi);
    expect([...found.libraries.keys()]).toEqual(expect.arrayContaining(libraries));
    expect([...found.dependencies.keys()]).toEqual(expect.arrayContaining(needed));
    expect([...found.dependencies.keys()].filter((each) => /^lib(?:c|m|stdc\+\+|gcc_s)\.so|^ld-/.test(each))).toEqual(
      [],
    );
    expect(found.needs.map(({ version }) => version)).toEqual(expect.arrayContaining(['GLIBC_2.34']));
  });

  it("slurm brings what this machine's commands of Slurm are linked with, beside the C runtime", async () => {
    const { mounts } = read('slurm');
    const files = mounts.map(({ source }) => source);
    const commands = files.filter((file) => file.startsWith('/usr/bin/'));
    expect(commands).toEqual(
      expect.arrayContaining(['srun', 'sbatch', 'squeue', 'scancel'].map((name) => `/usr/bin/${name}`)),
    );
    const plugins = [
      'auth_munge',
      'cred_munge',
      'hash_k12',
      'select_linear',
      'select_cons_tres',
      'mpi_pmi2',
      'cli_filter_none',
    ];
    const objects = [...commands, ...plugins.map((name) => `/usr/lib/x86_64-linux-gnu/slurm-wlm/${name}.so`)];
    const { stdout } = await promisify(execFile)('readelf', ['-d', ...objects]);
    const needed = Array.from(stdout.matchAll(/\(NEEDED\)[^[]*\[([^\]]+)\]/g), ([, name = '']) => name);
    expect(new Set(needed)).toContain('libmunge.so.2');
    const brought = new Set(['libslurmfull.so', ...files.map((file) => basename(file))]);
    expect(needed.filter((name) => !/^lib(?:c|m|resolv)\.so/.test(name) && !brought.has(name))).toEqual([]);
  });
});

describe('docs/modules.md', () => {
  it('shows every key as it may be written', () => {
    const page = readFileSync(join(import.meta.dirname, '../../docs/modules.md'), 'utf8');
    const [, text = ''] = /```toml\n([^]*?)```/.exec(page) ?? [];
    const { module, problems } = readModule('example', 'docs/modules.md', text);
    expect(problems).toEqual([]);
    expect(module.mounts).toHaveLength(1);
    expect(module.environment).toHaveLength(5);
    expect(module).toMatchObject({ cdi: { devices: 'granted' }, mpi: { check: 'version' } });
  });

  it('lists those that come with Berth', () => {
    const page = readFileSync(join(import.meta.dirname, '../../docs/modules.md'), 'utf8');
    for (const name of names) expect(page).toContain(`| \`${name}\` |`);
  });
});
