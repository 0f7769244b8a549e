import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { hostname } from 'node:os';
import { join } from 'node:path';
import type { Config } from '../config/index.js';
import { inWords, settle, slurmdAbove } from './drain.js';

/** What is kept between calls, as there is no daemon to keep it. */
interface Kept {
  readonly fails: number;
  readonly slurmd: string;
  /** Was the node drained when Slurm was last asked about it? */
  readonly isDrained: boolean;
}

const TEXT = 'berthd does not answer';

/**
 * What Slurm is told when berthd does not answer: by the same rules as berthd would, with the count of failures in the
 * runtime directory. That the node is well again is for berthd itself to say.
 *
 * @returns what was done, in words; undefined for nothing.
 * @throws Error when scontrol fails or does not end in time.
 */
export async function reportDeadDaemon({ health, daemon }: Config, nodeName: string): Promise<string | undefined> {
  if (!health.drain) return undefined;
  const file = noteOf(daemon.runtimeDirectory);
  const before = read(file);
  const slurmd = slurmdAbove(process.pid) ?? '';
  const kept = { fails: (before?.fails ?? 0) + 1, slurmd, isDrained: before?.isDrained ?? false };
  mkdirSync(daemon.runtimeDirectory, { recursive: true, mode: 0o755 });
  write(file, kept);
  if (slurmd !== '' && slurmd !== before?.slurmd) return undefined;
  if (kept.fails < health.drainAfter) return undefined;
  const name = nodeName || (hostname().split('.')[0] ?? '');
  const tallies = new Map([['daemon', { fails: kept.fails, passes: 0 }]]);
  const history = { tallies, textOf: () => TEXT, absentFor: () => 0 };
  const { change, isDrained, isResumedByOthers } = await settle(name, history, health, kept.isDrained);
  write(file, { slurmd, fails: isResumedByOthers ? 1 : kept.fails, isDrained });
  return change && inWords(change);
}

/** berthd is there again: its failures are counted anew. */
export function forgetDeadDaemon({ daemon }: Config): void {
  rmSync(noteOf(daemon.runtimeDirectory), { force: true });
}

function noteOf(runtimeDirectory: string): string {
  return join(runtimeDirectory, 'daemon-dead');
}

function write(file: string, kept: Kept): void {
  writeFileSync(file, JSON.stringify(kept), { mode: 0o600 });
}

function read(file: string): Kept | undefined {
  try {
    const value: unknown = JSON.parse(readFileSync(file, 'utf8'));
    if (typeof value !== 'object' || value === null || !('fails' in value) || !('slurmd' in value)) return undefined;
    const { fails, slurmd } = value;
    if (typeof fails !== 'number' || typeof slurmd !== 'string') return undefined;
    return { fails, slurmd, isDrained: 'isDrained' in value && value.isDrained === true };
  } catch {
    return undefined;
  }
}
