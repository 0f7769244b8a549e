import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { errorCode } from '../errors/index.js';

/** Where the node's own files are. Other roots than these serve the tests of what this machine does not have. */
export interface Places {
  readonly proc: string;
  readonly sys: string;
  readonly dev: string;
  readonly etc: string;
}

export const realPlaces: Places = { proc: '/proc', sys: '/sys', dev: '/dev', etc: '/etc' };

/**
 * A small file that the kernel or the node's own /etc answers from memory or local disk: nothing to wait for. Undefined
 * where there is none.
 */
export function readSmall(...path: readonly string[]): string | undefined {
  try {
    return readFileSync(join(...path), 'utf8');
  } catch (error) {
    if (errorCode(error) === 'ENOENT' || errorCode(error) === 'ENOTDIR') return undefined;
    throw error;
  }
}

/** Names under a directory of the kernel's; empty where there is none. */
export function namesIn(...path: readonly string[]): string[] {
  try {
    return readdirSync(join(...path)).sort();
  } catch {
    return [];
  }
}

export { existsSync as exists };

/** A line of /proc/self/mountinfo (proc(5)). */
export interface MountLine {
  readonly root: string;
  readonly point: string;
  readonly options: readonly string[];
  readonly propagation: readonly string[];
  readonly type: string;
  readonly source: string;
  readonly superOptions: readonly string[];
}

export function readMounts(places: Places): MountLine[] {
  const text = readSmall(places.proc, 'self', 'mountinfo') ?? '';
  return text.split('\n').flatMap((line) => {
    const [before = '', after = ''] = line.split(' - ');
    const [, , , root, point, options, ...propagation] = before.split(' ');
    const [type, source, superOptions] = after.split(' ');
    if (root === undefined || point === undefined || type === undefined) return [];
    return [
      {
        root: unescape(root),
        point: unescape(point),
        options: (options ?? '').split(','),
        propagation,
        type,
        source: unescape(source ?? ''),
        superOptions: (superOptions ?? '').split(','),
      },
    ];
  });
}

function unescape(field: string): string {
  return field.replace(/\\([0-7]{3})/g, (_, octal: string) => String.fromCharCode(parseInt(octal, 8)));
}
