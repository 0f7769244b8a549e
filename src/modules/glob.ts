import { lstat, readdir } from 'node:fs/promises';
import { errorCode } from '../errors/index.js';

const WILD = /[*?[]/;

/** Does a path have characters that stand for others? */
export function isPattern(path: string): boolean {
  return WILD.test(path);
}

/**
 * The paths that a pattern matches, in the order of their names. `*` and `?` stand for characters of one name, [a-z] for one
 * of those and [!a-z] for one of the others; a leading dot is matched by a dot alone. A path that is no pattern matches
 * itself, where it exists. What cannot be looked into matches nothing.
 */
export async function matches(pattern: string): Promise<string[]> {
  let found = [''];
  for (const part of pattern.split('/').slice(1)) {
    found = isPattern(part)
      ? (await Promise.all(found.map((directory) => namesLike(directory, part)))).flat()
      : found.map((directory) => `${directory}/${part}`);
  }
  const there = await Promise.all(found.map(exists));
  return found.filter((_, i) => there[i]);
}

async function namesLike(directory: string, part: string): Promise<string[]> {
  const expression = expressionOf(part);
  try {
    const names = await readdir(directory === '' ? '/' : directory);
    const fitting = names.filter((name) => expression.test(name) && name.startsWith('.') === part.startsWith('.'));
    return fitting.sort().map((name) => `${directory}/${name}`);
  } catch (error) {
    if (isAbsence(error)) return [];
    throw error;
  }
}

function expressionOf(part: string): RegExp {
  const source = part.replace(
    /\[(!?)((?:[^\]\\]+))\]|[*?]|[\\^$.|+(){}[\]/]/g,
    (whole, not: string | undefined, set: string | undefined) => {
      if (set !== undefined) return `[${not === '!' ? '^' : ''}${set.replace(/[\\^[\]]/g, '\\$&')}]`;
      if (whole === '*') return '.*';
      return whole === '?' ? '.' : `\\${whole}`;
    },
  );
  return new RegExp(`^${source}$`, 'su');
}

async function exists(path: string): Promise<boolean> {
  try {
    await lstat(path);
    return true;
  } catch (error) {
    if (isAbsence(error)) return false;
    throw error;
  }
}

function isAbsence(error: unknown): boolean {
  return ['ENOENT', 'ENOTDIR', 'EACCES', 'ELOOP'].includes(errorCode(error) ?? '');
}
