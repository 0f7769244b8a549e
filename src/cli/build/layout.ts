import { BerthError } from '../../errors/index.js';
import type { Call } from '../command.js';
import { findInArchive } from '../pull/archive.js';
import { Progress } from '../pull/progress.js';
import { bring, type Pulled } from '../pull/session.js';

/** An OCI layout that buildah has written, with its one image. */
export interface BuiltLayout {
  readonly path: string;
  /** For what skopeo writes; removed by the caller. */
  readonly temporary: string;
  /** What berth images shows as the image's source. */
  readonly source: string;
}

/** What the image is called in such a layout. */
export const LAYOUT_TAG = 'image';

/**
 * Brings the image of an OCI layout into the store, as berth import does: berthd reads manifest, configuration and layers
 * anew and believes nobody.
 *
 * @param task what to call it, and what is being done.
 * @throws BerthError and RemoteError; the signal's reason
 */
export async function bringLayout(
  { socket, terminal, flag }: Call,
  { name }: Task,
  { path, temporary, source }: BuiltLayout,
  signal: AbortSignal,
): Promise<Pulled> {
  const progress = new Progress(name, terminal, flag('json') ? 'none' : 'auto');
  try {
    const reference = { transport: 'oci', path, name: LAYOUT_TAG } as const;
    const found = await findInArchive(reference, { path, temporary }, name, signal);
    return await bring({ ...found, source }, name, socket, progress, signal);
  } finally {
    progress.stop();
  }
}

/** What a command does with an image, for its errors. */
export interface Task {
  readonly action: 'building' | 'migrating';
  readonly name: string;
}

/** What buildah has made, or was asked for, cannot be had. */
export function imageFailure({ action, name }: Task, why: string, hint = USUAL_HINT): BerthError {
  return new BerthError('BERTH_IMAGE_BUILD', { action, name, why, hint });
}

const USUAL_HINT = 'nothing was added to the store; mend the cause and try again';
