/** What is done with a root file system in every form. */
import { open, type FileHandle } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { run } from '../../program.js';
import { generator } from '../random.js';

export interface Workload {
  readonly id: string;
  readonly title: string;
  readonly run: (root: string, signal: AbortSignal) => Promise<unknown>;
}

const script = fileURLToPath(new URL('import.sh', import.meta.url));

/** How many pages are read at random. */
const READS = 100;
/** Bytes. */
const PAGE = 4096;
/** Files that are larger, in bytes, are read at random. */
const LARGE = 2 ** 20;

/** A file that is large enough, by its path in the root file system. */
interface LargeFile {
  readonly path: string;
  /** Bytes. */
  readonly size: number;
}

/** @param directory the root file system, which is looked through for what will be read at random */
export async function allWorkloads(directory: string, processes: number): Promise<readonly Workload[]> {
  const files = await largeFiles(directory);
  return [
    {
      id: 'walk',
      title: 'walk',
      // %s makes it ask for the attributes of every file.
      run: (root, signal) => run(['find', root, '-xdev', '-printf', '%s'], { quiet: true, signal }),
    },
    {
      id: 'read',
      title: 'read all',
      run: (root, signal) =>
        run(['find', root, '-xdev', '-type', 'f', '-exec', 'cat', '{}', '+'], { quiet: true, signal }),
    },
    { id: 'random', title: `${READS} pages`, run: (root, signal) => readRandomly(root, files, signal) },
    {
      id: 'import',
      title: `${processes} imports`,
      run: (root, signal) => run(['sh', script, root, String(processes)], { quiet: true, signal }),
    },
  ];
}

/** Reads pages here and there in the files, the same ones every time. */
async function readRandomly(root: string, files: readonly LargeFile[], signal: AbortSignal): Promise<void> {
  const total = files.reduce((sum, { size }) => sum + size, 0);
  const next = generator(1);
  const handles: FileHandle[] = [];
  try {
    for (const { path } of files) handles.push(await open(join(root, path)));
    const page = Buffer.alloc(PAGE);
    for (let count = 0; count < READS; count += 1) {
      signal.throwIfAborted();
      let offset = Math.floor(next() * total);
      const index = files.findIndex(({ size }) => {
        if (offset < size) return true;
        offset -= size;
        return false;
      });
      await handles[index]?.read(page, 0, PAGE, Math.floor(offset / PAGE) * PAGE);
    }
  } finally {
    for (const handle of handles) await handle.close();
  }
}

async function largeFiles(directory: string): Promise<readonly LargeFile[]> {
  const found = await run([
    'find',
    directory,
    '-xdev',
    '-type',
    'f',
    '-size',
    `+${LARGE / 1024}k`,
    '-printf',
    '%s %P\n',
  ]);
  return (
    found
      .trimEnd()
      .split('\n')
      .map((line) => {
        const [size = '', ...path] = line.split(' ');
        return { path: path.join(' '), size: Number(size) };
      })
      // A directory has no order of its own.
      .sort((a, b) => (a.path < b.path ? -1 : 1))
  );
}
