import { mkdir, open, rename } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { errorCode } from '../errors/index.js';

/** fsync(2) of a directory: names made or replaced in it survive a crash of the node. */
export async function syncDirectory(path: string): Promise<void> {
  const handle = await open(path, 'r');
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}

/** Moves a finished, synced file of the same file system to `path`, replacing what is there. */
export async function moveIntoPlace(finished: string, path: string): Promise<void> {
  await rename(finished, path);
  await syncDirectory(dirname(path));
}

/** Writes `path` at once and for good: readers see the old content or the new, whenever power fails. */
export async function writeDurably(path: string, content: string, temporary: string): Promise<void> {
  const unfinished = join(temporary, basename(path));
  const handle = await open(unfinished, 'wx', 0o644);
  try {
    await handle.writeFile(content);
    await handle.sync();
  } finally {
    await handle.close();
  }
  await moveIntoPlace(unfinished, path);
}

/** Makes a directory, for root alone, unless it is there. Its parent must exist. */
export async function makeDirectory(path: string): Promise<void> {
  try {
    await mkdir(path, { mode: 0o700 });
  } catch (error) {
    if (errorCode(error) !== 'EEXIST') throw error;
    return;
  }
  await syncDirectory(dirname(path));
}
