import { readFileSync } from 'node:fs';
import { native } from '../native/index.js';

/** Which process: the same numbers are never two processes of one start of the node. */
export interface ProcessRecord {
  readonly pid: number;
  /** Since the node's start, in the kernel's ticks: proc(5), /proc/PID/stat, starttime. */
  readonly started: number;
}

export function isProcessRecord(value: unknown): value is ProcessRecord {
  if (typeof value !== 'object' || value === null) return false;
  const { pid, started } = value as Partial<Record<keyof ProcessRecord, unknown>>;
  return Number.isInteger(pid) && Number(pid) > 1 && Number.isInteger(started);
}

/** When the process was started; undefined when there is none. */
export function startOf(pid: number): number | undefined {
  try {
    // Its name, in parentheses, may have any character.
    const fields = readFileSync(`/proc/${pid}/stat`, 'latin1')
      .replace(/^.*\) /s, '')
      .split(' ');
    return Number(fields[19]);
  } catch {
    return undefined;
  }
}

/** A pidfd of the process, the caller's to close; undefined when it has ended. */
export function openProcess({ pid, started }: ProcessRecord): number | undefined {
  const pidfd = native.openPidfd(pid);
  if (pidfd === undefined) return undefined;
  if (startOf(pid) === started && !native.hasEnded(pidfd)) return pidfd;
  native.close(pidfd);
  return undefined;
}
