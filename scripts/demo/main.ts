/**
 * npm run demo: LAMMPS over two nodes of a real Slurm cluster on this machine, every rank in one shared container per
 * node. Cleans up after itself; keeps the root file system it made for the next time.
 */
import { copyFile, mkdtemp, readFile, rm } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { tmpdir } from 'node:os';
import { fileURLToPath } from 'node:url';
import { Cluster } from '../../test/cluster/cluster.js';
import { MPI_NETWORK } from '../../test/cluster/mpi.js';
import { debianRootfs } from '../library/rootfs.js';
import { median } from '../library/statistics.js';

const here = dirname(fileURLToPath(import.meta.url));

function say(text: string): void {
  process.stdout.write(`${text}\n`);
}

async function step<T>(what: string, work: () => Promise<T>): Promise<T> {
  process.stdout.write(`${what} … `);
  const start = performance.now();
  const result = await work();
  say(`${((performance.now() - start) / 1000).toFixed(1)} s`);
  return result;
}

async function mustExec(cluster: Cluster, argv: readonly string[], user: string): Promise<string> {
  const { status, stdout, stderr } = await cluster.exec('login', argv, { user, env: MPI_NETWORK });
  if (status !== 0) throw new Error(`${argv.join(' ')} ended with ${status ?? 'a signal'}:\n${stdout}${stderr}`);
  return stdout + stderr;
}

async function runJob(cluster: Cluster): Promise<Map<string, number[]>> {
  const home = '/home/alice';
  const copies = ['melt.in', 'job.sh'].map((name) =>
    copyFile(join(here, name), join(cluster.layout.home, 'alice', name)),
  );
  await Promise.all(copies);
  const results = join(cluster.layout.home, 'alice', 'results');
  say('$ salloc -N2 --image=lammps bash job.sh');
  say(
    await mustExec(
      cluster,
      ['salloc', '--quiet', '-N2', '--image=lammps', 'bash', 'job.sh', `${home}/results`],
      'alice',
    ),
  );
  const times = new Map<string, number[]>();
  for (const line of (await readFile(results, 'utf8')).trim().split('\n')) {
    const [name = '', microseconds] = line.split('\t');
    times.set(name, [...(times.get(name) ?? []), Number(microseconds) / 1000]);
  }
  return times;
}

async function main(): Promise<void> {
  const rootfs = await step('A Debian root file system with LAMMPS and Open MPI', () =>
    debianRootfs('lammps', ['lammps', 'openmpi-bin']),
  );
  const base = await mkdtemp(join(tmpdir(), 'berth-demo-'));
  const abort = new AbortController();
  for (const signal of ['SIGINT', 'SIGTERM'] as const)
    process.once(signal, () => {
      abort.abort();
    });
  let cluster: Cluster | undefined;
  try {
    const dir = join(base, 'cluster');
    const started = await step('A Slurm cluster of two nodes', () =>
      Cluster.up({ dir, nodes: 2, signal: abort.signal }),
    );
    cluster = started;
    await step('berth import lammps', () => mustExec(started, ['berth', 'import', 'lammps', rootfs.tar], 'root'));
    say(`\n${await mustExec(started, ['berth', 'images'], 'alice')}`);
    const times = await runJob(started);
    say('Wall time on the submit host (median):');
    for (const [name, values] of times) say(`  ${name.padEnd(28)} ${median(values).toFixed(0).padStart(6)} ms`);
  } finally {
    await step('\nCleaning up', async () => {
      await cluster?.down();
      await rm(base, { recursive: true, force: true });
    });
  }
}

main().catch((error: unknown) => {
  process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n`);
  process.exitCode = 1;
});
