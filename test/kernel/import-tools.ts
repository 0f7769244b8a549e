import { execFileSync } from 'node:child_process';
import { closeSync, existsSync, openSync, readdirSync, readFileSync, readlinkSync } from 'node:fs';
import { join, relative } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { Layout } from '../../src/image/layout.js';

/** Bytes that do not compress. */
export function noise(length: number): Buffer {
  const bytes = Buffer.alloc(length);
  let state = 1;
  for (let i = 0; i < length; i++) {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    bytes[i] = state >>> 24;
  }
  return bytes;
}

/** An archive that has not ended, and never says so until its writer is closed. */
export function makeFifo(directory: string): { archive: number; writer: number } {
  const path = join(directory, 'fifo');
  execFileSync('mkfifo', [path]);
  const both = openSync(path, 'r+');
  const archive = openSync(path, 'r');
  const writer = openSync(path, 'w');
  closeSync(both);
  return { archive, writer };
}

/** The pid of the converter that writes below a directory. */
export async function findConverter(directory: string): Promise<number> {
  const deadline = Date.now() + 10_000;
  while (Date.now() < deadline) {
    for (const pid of readdirSync('/proc').filter((entry) => /^\d+$/.test(entry))) {
      if (isConverter(pid, directory)) return Number(pid);
    }
    await sleep(10);
  }
  throw new Error('no converter was started');
}

function isConverter(pid: string, directory: string): boolean {
  try {
    const command = readFileSync(`/proc/${pid}/comm`, 'utf8');
    return command === 'berth-converter\n' && readlinkSync(`/proc/${pid}/fd/3`).startsWith(directory);
  } catch {
    return false;
  }
}

/** A zombie that has not been waited for is not running. */
export function isRunning(pid: number): boolean {
  if (!existsSync(`/proc/${pid}/stat`)) return false;
  const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
  return stat.slice(stat.lastIndexOf(')') + 2, stat.lastIndexOf(')') + 3) !== 'Z';
}

export function sha256sum(path: string): string {
  return execFileSync('sha256sum', [path]).toString().slice(0, 64);
}

/** Everything in a store that is not one of its own directories. */
export function contentOf(store: string): string[] {
  const own = new Layout(store).directories().map((path) => relative(store, path));
  return (readdirSync(store, { recursive: true }) as string[]).filter((entry) => !own.includes(entry));
}
