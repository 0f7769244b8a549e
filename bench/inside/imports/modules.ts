/** Python modules that are made up, each with a shared object of its own. */
import { mkdir, writeFile } from 'node:fs/promises';
import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import { forEachLimited } from '../../../test/cluster/command.js';
import { run } from '../../program.js';
import type { RootFileSystem } from '../root-file-system.js';
import type { Stage } from '../../parts/stage.js';

/** How many there are. */
export const MODULES = 200;
/** Functions in each shared object, every one of which calls the next. */
const FUNCTIONS = 100;

/** Where they are in the root file system. */
const DIRECTORY = 'opt/imports';
/** What imports them all, and prints how many it has called. */
export const PROGRAM = `${DIRECTORY}/main.py`;

const numbers = Array.from({ length: MODULES }, (_, index) => index);

const program = `import importlib
called = sum(importlib.import_module('part_%d' % number).answer() == number for number in range(${MODULES}))
print('%d modules' % called)
`;

/** A module that loads its shared object and asks it for its number. */
function moduleSource(number: number): string {
  return `import ctypes
import os
library = ctypes.CDLL(os.path.join(os.path.dirname(__file__), 'libpart_${number}.so'))
def answer():
    return library.part_${number}_0()
`;
}

/** Functions that others could replace, so that the dynamic loader has to look each of them up. */
function librarySource(number: number): string {
  const name = (index: number): string => `part_${number}_${index}`;
  const functions = Array.from({ length: FUNCTIONS - 1 }, (_, index) => {
    const next = name(FUNCTIONS - 1 - index);
    return `int ${name(FUNCTIONS - 2 - index)}(void) { return ${next}(); }`;
  });
  return [`int ${name(FUNCTIONS - 1)}(void) { return ${number}; }`, ...functions, ''].join('\n');
}

/** Puts them into the root file system, compiled. */
export async function makeModules({ cluster, say, signal }: Stage, root: RootFileSystem): Promise<void> {
  say(`${MODULES} modules to be imported`);
  const directory = root.path(DIRECTORY);
  const sources = join(cluster.dir, 'sources');
  await mkdir(directory, { recursive: true });
  await mkdir(sources);
  await writeFile(root.path(PROGRAM), program);
  await forEachLimited(numbers, availableParallelism(), async (number) => {
    const source = join(sources, `part_${number}.c`);
    await writeFile(source, librarySource(number));
    await writeFile(join(directory, `part_${number}.py`), moduleSource(number));
    // Neither optimised nor stripped: calls stay calls, by name.
    const target = join(directory, `libpart_${number}.so`);
    await run(['cc', '-O0', '-shared', '-fPIC', '-Wl,-z,now', '-o', target, source], { signal });
  });
  // As packages do it. By content: the image's times are not those of the directory.
  const compile = ['-m', 'compileall', '-q', '--invalidation-mode', 'unchecked-hash', directory];
  await run([...root.bare('usr/bin/python3'), ...compile], { env: { PYTHONHOME: root.path('usr') }, signal });
}
