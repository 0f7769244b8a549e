import { mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Config } from '../config/index.js';
import { readTrusted } from '../modules/trusted.js';
import { shortHostName } from './checks/slurm.js';
import { checksIn, inWords, settle, slurmdAbove, type NodeChange } from './drain.js';

/** A drain that the next berthd is to tell of. */
interface Drain {
  /** Seconds since the epoch. */
  readonly time: number;
  readonly node: string;
  readonly reason: string;
}

/** What is kept between calls, as there is no daemon to keep it. */
interface Kept {
  readonly fails: number;
  readonly slurmd: string;
  /** Was the node drained when Slurm was last asked about it? */
  readonly isDrained: boolean;
  /** Oldest first. An administrator who resumes the node meanwhile may be followed by another one. */
  readonly drains: readonly Drain[];
}

/** Most drains that are kept, and bytes of the note with them. */
const MOST_DRAINS = 16;
const MOST_BYTES = 16 * 1024;

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
  const { fails = 0, isDrained: wasDrained = false, drains = [] } = before ?? {};
  const kept = { fails: fails + 1, slurmd, isDrained: wasDrained, drains };
  mkdirSync(daemon.runtimeDirectory, { recursive: true, mode: 0o755 });
  write(file, kept);
  if (slurmd !== '' && slurmd !== before?.slurmd) return undefined;
  if (kept.fails < health.drainAfter) return undefined;
  const name = nodeName || shortHostName();
  const tallies = new Map([['daemon', { fails: kept.fails, passes: 0 }]]);
  const history = { tallies, textOf: () => TEXT, absentFor: () => 0 };
  const { change, isDrained, isResumedByOthers } = await settle(name, history, health, wasDrained);
  const added =
    change?.what === 'drained' ? [{ time: Date.now() / 1000, node: change.node, reason: change.reason }] : [];
  write(file, {
    slurmd,
    fails: isResumedByOthers ? 1 : kept.fails,
    isDrained,
    drains: [...drains, ...added].slice(-MOST_DRAINS),
  });
  return change && inWords(change);
}

/**
 * berthd is there again: its failures are counted anew.
 *
 * @returns what was done to the node meanwhile, oldest first.
 */
export function takeDeadDaemon({ daemon }: Pick<Config, 'daemon'>): NodeChange[] {
  const file = noteOf(daemon.runtimeDirectory);
  const drains = read(file)?.drains ?? [];
  rmSync(file, { force: true });
  return drains.map((drain) => ({ what: 'drained', ...drain, gone: [] }));
}

function noteOf(runtimeDirectory: string): string {
  return join(runtimeDirectory, 'daemon-dead');
}

function write(file: string, kept: Kept): void {
  writeFileSync(file, JSON.stringify(kept), { mode: 0o600 });
}

/** Undefined where there is none, or none that root alone has written. */
function read(file: string): Kept | undefined {
  try {
    const value: unknown = JSON.parse(readTrusted(file, MOST_BYTES).text);
    if (typeof value !== 'object' || value === null || !('fails' in value) || !('slurmd' in value)) return undefined;
    const { fails, slurmd } = value;
    if (typeof fails !== 'number' || typeof slurmd !== 'string') return undefined;
    const drains: unknown = 'drains' in value ? value.drains : undefined;
    return {
      fails,
      slurmd,
      isDrained: 'isDrained' in value && value.isDrained === true,
      drains: Array.isArray(drains) ? drains.filter(isDrain) : [],
    };
  } catch {
    return undefined;
  }
}

function isDrain(value: unknown): value is Drain {
  if (typeof value !== 'object' || value === null) return false;
  if (!('time' in value) || !('node' in value) || !('reason' in value)) return false;
  const { time, node, reason } = value;
  const hasPassed = typeof time === 'number' && time > 0 && time <= Date.now() / 1000;
  return hasPassed && typeof node === 'string' && typeof reason === 'string' && checksIn(reason) !== undefined;
}
