/** On what machine and with which versions a run was made. */
import { readFile } from 'node:fs/promises';
import { availableParallelism, cpus, release, totalmem } from 'node:os';
import { join } from 'node:path';
import { repository } from '../test/cluster/layout.js';

export interface Machine {
  readonly system: string;
  readonly kernel: string;
  readonly processor: string;
  readonly cores: number;
  /** GiB. */
  readonly memory: number;
  /** By program; Berth and Node.js are always among them. */
  readonly versions: Readonly<Record<string, string>>;
}

/** @param programs what each of the other programs says of its version, by its name */
export async function describeMachine(programs: Readonly<Record<string, string>>): Promise<Machine> {
  const [system, project] = await Promise.all([
    readFile('/etc/os-release', 'utf8'),
    readFile(join(repository, 'package.json'), 'utf8'),
  ]);
  return {
    system: /^PRETTY_NAME="?(.*?)"?$/m.exec(system)?.[1] ?? 'Linux',
    kernel: release(),
    processor: cpus()[0]?.model ?? 'unknown',
    cores: availableParallelism(),
    memory: Math.round(totalmem() / 2 ** 30),
    versions: {
      Berth: /"version": "(.*?)"/.exec(project)?.[1] ?? 'unknown',
      'Node.js': process.versions.node,
      ...Object.fromEntries(Object.entries(programs).map(([name, text]) => [name, firstVersion(text)])),
    },
  };
}

/** The first thing that looks like a version. */
function firstVersion(text: string): string {
  return /\d+(?:\.\d+)+/.exec(text)?.[0] ?? text.trim();
}

export function machineLines({ system, kernel, processor, cores, memory, versions }: Machine): string {
  const programs = Object.entries(versions).map(([name, version]) => `${name} ${version}`);
  return `${system}, Linux ${kernel}, ${cores} cores (${processor}), ${memory} GiB.\n${programs.join(', ')}.`;
}
