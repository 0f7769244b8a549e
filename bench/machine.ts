/** On what machine and with which versions a run was made. */
import { readFile } from 'node:fs/promises';
import { availableParallelism, cpus, release, totalmem } from 'node:os';
import { join } from 'node:path';
import { requireCommand } from '../test/cluster/command.js';
import type { Cluster } from '../test/cluster/cluster.js';
import { repository } from '../test/cluster/layout.js';
import { mustExec } from './execute.js';
import { user } from './submit-shell.js';

export interface Machine {
  readonly system: string;
  readonly kernel: string;
  readonly processor: string;
  readonly cores: number;
  /** GiB. */
  readonly memory: number;
  readonly versions: Readonly<Record<'Berth' | 'Slurm' | 'Node.js' | 'podman' | 'crun' | 'Charliecloud', string>>;
}

export async function describeMachine(cluster: Cluster): Promise<Machine> {
  const [system, project, slurm, podman, crun, charliecloud] = await Promise.all([
    readFile('/etc/os-release', 'utf8'),
    readFile(join(repository, 'package.json'), 'utf8'),
    mustExec(cluster, 'login', ['srun', '--version'], { user }),
    requireCommand(['podman', '--version']),
    requireCommand(['crun', '--version']),
    mustExec(cluster, 'n1', ['sh', '-c', 'ch-run --version 2>&1'], { user }),
  ]);
  return {
    system: /^PRETTY_NAME="?(.*?)"?$/m.exec(system)?.[1] ?? 'Linux',
    kernel: release(),
    processor: cpus()[0]?.model ?? 'unknown',
    cores: availableParallelism(),
    memory: Math.round(totalmem() / 2 ** 30),
    versions: {
      Berth: /"version": "(.*?)"/.exec(project)?.[1] ?? 'unknown',
      Slurm: number(slurm),
      'Node.js': process.versions.node,
      podman: number(podman),
      crun: number(crun),
      Charliecloud: number(charliecloud),
    },
  };
}

/** The first thing that looks like a version. */
function number(text: string): string {
  return /\d+(?:\.\d+)+/.exec(text)?.[0] ?? text.trim();
}
