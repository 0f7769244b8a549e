/** What the level of compression costs and gains. */
import { rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import type { Progress } from '../../bench.js';
import { convert } from '../converter.js';
import { timed } from '../../program.js';
import { USUAL_BLOCK } from './forms.js';

export interface Level {
  /** Of zstd. */
  readonly level: number;
  /** Bytes. */
  readonly size: number;
  /** Milliseconds that making the image took. */
  readonly making: number;
}

/** Makes an image of the archive with each level, with the archive in the page cache. */
export async function makeLevels(
  levels: readonly number[],
  archive: string,
  directory: string,
  signal: AbortSignal,
  say: Progress,
): Promise<readonly Level[]> {
  const target = join(directory, 'level.squashfs');
  const make = (level: number) =>
    timed(() => convert('image', archive, target, { level, blockSize: USUAL_BLOCK }, { signal }));
  const made: Level[] = [];
  if (levels.length > 0) await make(1);
  for (const level of levels) {
    say(`making an image with zstd ${level}`);
    made.push({ level, making: await make(level), size: (await stat(target)).size });
  }
  await rm(target, { force: true });
  return made;
}
