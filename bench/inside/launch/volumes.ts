/** Directories to be mounted. */
import { chown, mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { account } from '../../../test/cluster/accounts.js';
import { user } from '../../submit-shell.js';
import type { Stage } from '../../parts/stage.js';

/** How many bind mounts a container has at most. */
export const MOST_MOUNTS = 100;

/** Beneath the user's home directory. */
const SOURCES = 'volumes';

/** An option for so many bind mounts: each of a directory of its own, at a place that the image does not have. */
export function volumeOption(count: number): string {
  const volumes = Array.from({ length: count }, (_, index) => `/home/${user}/${SOURCES}/${index}:/bench/${index}`);
  return `--volume=${volumes.join(';')}`;
}

/** Makes the directories of all bind mounts. */
export async function makeSources({ homeHere }: Stage): Promise<void> {
  const { uid, gid } = account(user);
  const sources = join(homeHere, SOURCES);
  const directories = Array.from({ length: MOST_MOUNTS }, (_, index) => join(sources, String(index)));
  for (const directory of [sources, ...directories]) {
    await mkdir(directory);
    await chown(directory, uid, gid);
  }
}
