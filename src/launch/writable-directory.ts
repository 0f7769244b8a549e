import { BerthError } from '../errors/index.js';
import type { ContainerOptions } from '../options/index.js';
import type { LaunchOrder } from './order.js';

/** A container, or one that is being built. */
interface Other {
  readonly jobId: number;
  readonly uid: number;
  readonly writableDirectory?: string | undefined;
}

/** The directory that takes what is written in such a container, as the user gave it. */
export function writableDirectoryOf({ writable }: ContainerOptions): string | undefined {
  return writable ? writable.directory : undefined;
}

/**
 * May a new container write to its directory? The kernel lets two overlays write to one directory, and says that what
 * comes of it is undefined. Only local file systems can take an overlay's writes, so that the containers of one node are
 * all that count.
 *
 * @param others on this node
 * @throws BerthError BERTH_WRITABLE_DIRECTORY when another container of the user's does.
 */
export function checkWritableDirectory({ uid, options, nodeName }: LaunchOrder, others: readonly Other[]): void {
  const path = writableDirectoryOf(options);
  if (path === undefined) return;
  const other = others.find((container) => container.uid === uid && container.writableDirectory === path);
  if (!other) return;
  const why = `another container of job ${other.jobId} on ${nodeName} writes to it, and has it until that job ends`;
  throw new BerthError('BERTH_WRITABLE_DIRECTORY', { path, why });
}
