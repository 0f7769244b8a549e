/** MPI programs for the Slurm tests, compiled on this machine against the libraries that the image has, too. */
import { execFile } from 'node:child_process';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';

const run = promisify(execFile);
const here = dirname(fileURLToPath(import.meta.url));

export type Mpi = 'mpich' | 'openmpi';

/** Compiles SOURCE.c of this directory with an MPI's own compiler wrapper, as `target`. */
export async function compileMpi(source: string, mpi: Mpi, target: string): Promise<void> {
  await run(`mpicc.${mpi}`, ['-O1', '-Wall', '-Wextra', '-Werror', '-o', target, join(here, `${source}.c`)]);
}

/** Compiles SOURCE.c of this directory as `target`. */
export async function compile(source: string, target: string): Promise<void> {
  await run('cc', ['-O1', '-Wall', '-Wextra', '-Werror', '-o', target, join(here, `${source}.c`)]);
}

/** As {@link compile}, without libraries: for an image that has nothing else. */
export async function compileStatic(source: string, target: string): Promise<void> {
  await run('cc', ['-O1', '-static', '-Wall', '-Wextra', '-Werror', '-o', target, join(here, `${source}.c`)]);
}
