import {
  closeSync,
  constants,
  fstatSync,
  lstatSync,
  openSync,
  readFileSync,
  realpathSync,
  type BigIntStats,
} from 'node:fs';
import { dirname } from 'node:path';

/** Thrown for a file that others than root could have written, in words that follow "why:". */
export class Untrusted extends Error {}

export interface TrustedFile {
  readonly text: string;
  /** Another one when the file has become another or was changed. */
  readonly state: string;
}

/**
 * A small file of the site's own. What decides about containers must be root's: the file, and every directory on the way to
 * it, also where a symbolic link leads. Read at once rather than by the thread pool: the file is on the node, and a turn of
 * the pool takes ten times as long.
 *
 * @param limit bytes
 * @throws Untrusted; what the system says of a file that cannot be read
 */
export function readTrusted(path: string, limit: number): TrustedFile {
  const real = realpathSync(path);
  refuseUntrusted(real);
  const descriptor = openSync(real, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK);
  try {
    const status = fstatSync(descriptor, { bigint: true });
    // What is read is what was looked at.
    refuseStatus(real, status);
    if (!status.isFile()) throw new Untrusted(`${real} is not a regular file`);
    if (status.size > limit)
      throw new Untrusted(`${real} has ${status.size} bytes, more than the ${limit} that are read`);
    const text = new TextDecoder('utf-8', { fatal: true }).decode(readFileSync(descriptor));
    return { text, state: stateOf(status) };
  } finally {
    closeSync(descriptor);
  }
}

/**
 * @param path without symbolic links
 * @throws Untrusted when others than root may change the file or directory, or put another in its place.
 */
export function refuseUntrusted(path: string): void {
  refuseStatus(path, lstatSync(path, { bigint: true }));
  for (let at = dirname(path); ; at = dirname(at)) {
    const status = lstatSync(at, { bigint: true });
    // Where the sticky bit is set, as on /tmp, nobody but its owner can move what is root's.
    if ((status.mode & 0o1000n) === 0n) refuseStatus(at, status);
    if (at === '/') return;
  }
}

/** Says whether a file is still the same and unchanged. */
export function stateOf({ dev, ino, size, mtimeNs, ctimeNs }: BigIntStats): string {
  return [dev, ino, size, mtimeNs, ctimeNs].join(':');
}

function refuseStatus(path: string, { uid, mode }: BigIntStats): void {
  // Not run as root, as by somebody who tests a file, it is as good as the one who reads it.
  if (uid !== 0n && uid !== BigInt(process.geteuid?.() ?? 0))
    throw new Untrusted(`${path} belongs to uid ${uid}, so others than root decide what root does`);
  if ((mode & 0o022n) !== 0n) {
    const shown = (mode & 0o7777n).toString(8).padStart(4, '0');
    throw new Untrusted(`the mode ${shown} of ${path} lets others than root write to it`);
  }
}
