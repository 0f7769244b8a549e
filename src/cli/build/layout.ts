import { BerthError, reasonOf } from '../../errors/index.js';
import type { Call } from '../command.js';
import { digestOf, MANIFEST_LIMIT, parseDocument, platformOf } from '../pull/manifest.js';
import { Progress } from '../pull/progress.js';
import { ImageProxy } from '../pull/proxy.js';
import { bring, type Pulled } from '../pull/session.js';
import { runSkopeo } from '../pull/skopeo.js';

/**
 * Brings the image of an OCI layout into the store, as a pull would: berthd reads manifest, configuration and layers anew
 * and believes nobody.
 *
 * @param task what to call it, and what is being done.
 * @param layout as skopeo names it, "oci:DIRECTORY:TAG".
 * @param source what berth images shows as its source.
 * @throws BerthError BERTH_IMAGE_BUILD, and as a pull
 */
export async function bringLayout(
  { socket, terminal, flag }: Call,
  task: Task,
  { layout, source }: { readonly layout: string; readonly source: string },
  signal: AbortSignal,
): Promise<Pulled> {
  const { name } = task;
  const progress = new Progress(name, terminal, flag('json') ? 'none' : 'auto');
  const open = (within: AbortSignal): Promise<ImageProxy> => ImageProxy.open([], [], layout, within);
  try {
    const bytes = await runSkopeo(['inspect', '--raw', layout], signal, { limit: MANIFEST_LIMIT });
    const manifest = parseDocument(bytes, name);
    if (manifest.type === 'index') throw new Error('it is an index, where one image was expected');
    const proxy = await open(signal);
    const config = await proxy.read(manifest.config).finally(() => proxy.close());
    const remote = {
      ...{ subject: { name, registry: layout }, source, manifest: { bytes, digest: digestOf(bytes) }, index: undefined },
      ...{ config: manifest.config, layers: manifest.layers, platform: platformOf(config) },
      // From one disk; several readers at a time only make it seek.
      ...{ everyone: false, streams: 1, open, explain: (error: unknown) => error },
    };
    return await bring(remote, name, socket, progress, signal);
  } catch (error) {
    signal.throwIfAborted();
    throw error instanceof BerthError ? error : imageFailure(task, `its layers cannot be read: ${reasonOf(error)}`);
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
