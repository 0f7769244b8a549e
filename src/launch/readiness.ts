import type { Config } from '../config/index.js';
import type { ImageWords, Specification } from '../container/index.js';
import { BerthError } from '../errors/index.js';
import type { Afterwards, Inside } from '../modules/index.js';
import { runHooks, type ProcessInside } from './hooks.js';
import { openAsUser, OpenFault } from './opener.js';
import type { LaunchOrder } from './order.js';

/** A container that is built and not handed out yet. */
export interface BuiltContainer extends Afterwards, Pick<Specification, 'plan'> {
  readonly image: ImageWords;
  /** Of an image of the store. */
  readonly digest?: string;
  /** Does a process of the user's serve the image? */
  readonly isServed: boolean;
}

/**
 * Does what modules want done before a program is started in a container. berthd follows no path in there: files are opened,
 * and programs run, by processes that have the user's rights and no others.
 *
 * @param process one that is in the container
 * @throws BerthError what a check finds; BERTH_HOOK_FAILED; BERTH_MODULE_HOST where the image cannot be looked into.
 */
export async function makeReady(
  built: BuiltContainer,
  order: LaunchOrder,
  process: ProcessInside,
  { container, daemon }: Config,
): Promise<void> {
  const { checks, hooks } = built;
  const [first] = checks;
  if (first && built.isServed) {
    const why = "it looks into the image, and does not wait for a FUSE mount's server: import the file under a name";
    throw new BerthError('BERTH_MODULE_HOST', { name: first.module, host: order.nodeName, why });
  }
  const inside = insideOf(built, order, process.pidfd, container.buildTimeout * 1000);
  for (const { run } of checks) await run(inside);
  await runHooks(hooks, order, process, daemon.runtimeDirectory);
}

function insideOf(built: BuiltContainer, order: LaunchOrder, mountNamespace: number, timeout: number): Inside {
  const open = async (path: string): Promise<number | undefined> => {
    try {
      return (await openAsUser(order, path, mountNamespace, timeout)).descriptor;
    } catch (error) {
      if (error instanceof OpenFault) return undefined;
      throw error;
    }
  };
  const path = built.image.environment.findLast(({ name }) => name === 'LD_LIBRARY_PATH')?.value ?? '';
  const searchPath = path.split(':').filter((directory) => directory.startsWith('/'));
  return { files: { open }, searchPath, identity: identityOf(built, searchPath, order) };
}

/** What is in an image of the store never changes; what a user's file or volume holds may, and a directory can be written. */
function identityOf(
  { digest, plan }: BuiltContainer,
  searchPath: readonly string[],
  { file, options }: LaunchOrder,
): string | undefined {
  const { volumes, writable = false } = options;
  if (digest === undefined || file?.descriptor !== undefined || volumes.length > 0 || writable !== false)
    return undefined;
  const others = plan.mounts.filter(({ origin }) => origin === 'site' || origin.startsWith('module '));
  return JSON.stringify([digest, searchPath, others.map(({ message }) => [message.source, message.destination])]);
}
