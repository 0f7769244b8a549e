import { execFile } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { projectRoot } from './programs.js';
import { TestDaemon } from './daemon.js';

/** One line of `berth health --json`. */
export interface Found {
  readonly id: string;
  readonly status: string;
  readonly text: string;
  readonly hint: string;
}

export interface Health {
  readonly exitStatus: number;
  readonly checks: readonly Found[];
}

/** Runs the real client, as root. */
export function runHealth(socket: string, ...words: readonly string[]): Promise<{ status: number; output: string }> {
  const command = join(projectRoot, 'build', 'bin', 'berth');
  return new Promise((resolve) => {
    execFile(command, ['health', '--socket', socket, ...words], (error, stdout, stderr) => {
      resolve({ status: typeof error?.code === 'number' ? error.code : 0, output: stdout + stderr });
    });
  });
}

/** All checks, anew. */
export async function healthOf(daemon: TestDaemon): Promise<Health> {
  const { status, output } = await runHealth(daemon.socket, '--json', '--max-age', '0');
  const { checks } = JSON.parse(output) as { checks: Found[] };
  return { exitStatus: status, checks };
}

/** What is a finding now and was none before; "not tried" is not one. */
export function news(before: Health, after: Health): Found[] {
  const isFinding = ({ status, text }: Found): boolean => status !== 'pass' && !text.startsWith('not tried');
  const known = new Set(before.checks.filter(isFinding).map(({ id, status }) => `${id} ${status}`));
  return after.checks.filter((check) => isFinding(check) && !known.has(`${check.id} ${check.status}`));
}

/** A slurm.conf of the daemon's own; returns the environment that makes berthd find it. */
export function writeSlurmConf(daemon: TestDaemon, conf: string, plugstack = ''): Record<string, string> {
  const path = join(daemon.directory, 'slurm.conf');
  writeFileSync(path, conf);
  writeFileSync(join(daemon.directory, 'plugstack.conf'), plugstack);
  return { SLURM_CONF: path };
}

/**
 * A shell's words that start "$@" in a mount namespace of its own, after these commands: what they change, nobody else
 * sees.
 */
export function inOwnMounts(commands: string): string {
  return `exec unshare --mount --propagation private sh -ec '${commands.trim()}\nexec "$@"' sh "$@"`;
}
