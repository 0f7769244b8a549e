import { accessSync, constants } from 'node:fs';
import { join } from 'node:path';

/** The low-level one, of squashfuse 0.1.101 and later, built with libfuse 3.3 or later. */
export const SQUASHFUSE = 'squashfuse_ll';

/** Where distributions and sites put it. */
export const SQUASHFUSE_PLACES: readonly string[] = ['/usr/local/bin', '/usr/bin', '/bin'];

/** The program that serves a squashfs file by FUSE; undefined where it is not installed. */
export function findSquashfuse(places = SQUASHFUSE_PLACES): string | undefined {
  return places.map((place) => join(place, SQUASHFUSE)).find((path) => isExecutable(path));
}

function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}
