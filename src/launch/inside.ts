import type { ContainerCheck } from '../modules/index.js';
import { openAsUser, OpenFault } from './opener.js';
import type { User } from './user-process.js';

/** A container that is built and not handed out yet. */
export interface BuiltContainer {
  readonly user: User;
  /** Its mount namespace, or a pidfd of a process in it; stays the caller's. */
  readonly mountNamespace: number;
  /** LD_LIBRARY_PATH as the image has it; may be empty. */
  readonly libraryPath: string;
}

/**
 * Looks whether a container is as its modules need it. berthd follows no path in there: its files are opened by a process that
 * has the user's rights and no others.
 *
 * @param timeout milliseconds for each file
 * @throws BerthError what a check finds
 */
export async function checkInside(
  checks: readonly ContainerCheck[],
  { user, mountNamespace, libraryPath }: BuiltContainer,
  timeout: number,
): Promise<void> {
  const open = async (path: string): Promise<number | undefined> => {
    try {
      return (await openAsUser(user, path, mountNamespace, timeout)).descriptor;
    } catch (error) {
      if (error instanceof OpenFault) return undefined;
      throw error;
    }
  };
  const searchPath = libraryPath.split(':').filter((directory) => directory.startsWith('/'));
  for (const check of checks) await check({ files: { open }, searchPath });
}
