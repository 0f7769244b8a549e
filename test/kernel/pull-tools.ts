import { execFileSync } from 'node:child_process';
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { expect } from 'vitest';
import type { v1 } from '../../src/protocol/index.js';
import type { TestDaemon } from './helpers/daemon.js';
import type { PullOptions } from './helpers/pull-client.js';

const root = join(import.meta.dirname, '..', '..');

/** What a pull as a plain user came to. */
export interface Outcome {
  readonly kinds: string[];
  readonly wanted: string[];
  readonly image?: v1.Image;
  readonly code?: string;
  readonly why?: string;
}

/** Pulls as a plain user of the given number, in a process of theirs. */
export function pullAs(uid: number, { socket }: TestDaemon, layout: string, options: PullOptions): Outcome {
  const script = [join(root, 'node_modules', '.bin', 'tsx'), join(import.meta.dirname, 'helpers', 'pull-as.ts')];
  const identity = [`--reuid=${uid}`, `--regid=${uid}`, '--clear-groups'];
  const text = execFileSync('setpriv', [...identity, ...script, socket, layout, JSON.stringify(options)], {
    encoding: 'utf8',
    env: { PATH: process.env['PATH'], HOME: '/', TSX_DISABLE_CACHE: '1' },
  });
  return JSON.parse(text) as Outcome;
}

/** Waits until what pulls must not leave is gone: unfinished files, leases, converters. */
export async function nothingUnfinished({ directory, pid }: TestDaemon): Promise<void> {
  const left = (): string[] => [
    ...readdirSync(join(directory, 'store', 'tmp')),
    ...readdirSync(join(directory, 'store', 'leases')),
    ...childrenOf(pid),
  ];
  await expect.poll(left, { interval: 20 }).toEqual([]);
}

function childrenOf(pid: number): string[] {
  try {
    return (
      execFileSync('ps', ['-o', 'args=', '--ppid', String(pid)], { encoding: 'utf8' })
        .trim()
        .split('\n')
        // A spare builder waits for the next launch.
        .filter((line) => line !== '' && !line.endsWith('/berth-builder'))
    );
  } catch {
    return [];
  }
}
