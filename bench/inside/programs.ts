/** Programs in C that come with the bench. */
import { fileURLToPath } from 'node:url';
import { join } from 'node:path';
import { run } from '../program.js';
import type { Stage } from '../parts/stage.js';

/**
 * Compiles a program, without libraries, into the user's home directory: the same file runs inside and outside.
 * @param source relative to this file
 * @returns its path on the node
 */
export async function compileProgram({ home, homeHere }: Stage, source: string, name: string): Promise<string> {
  const file = fileURLToPath(new URL(source, import.meta.url));
  const options = ['-O2', '-static', '-D_GNU_SOURCE', '-Wall', '-Wextra', '-Werror'];
  await run(['cc', ...options, '-o', join(homeHere, name), file]);
  return join(home, name);
}
