import { closeSync, constants, openSync, rmSync } from 'node:fs';
import { chmod, mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { BerthError } from '../errors/index.js';
import type { CdiHook } from '../modules/index.js';
import { native } from '../native/index.js';
import type { LaunchOrder } from './order.js';
import { collectMessages, endOf, endOnAbort, lastWords, spawnAs } from './user-process.js';

/** Seconds that a hook may take which says nothing of that. */
const TIME_LIMIT = 10;

/** O_PATH of the kernel's, which Node does not name (asm-generic/fcntl.h). */
const O_PATH = 0o10000000;

/** Where a hook finds the container's root directory: its third descriptor. */
const ROOT = '/proc/self/fd/3';

const OCI_VERSION = '1.0.2';

/** A process that is in a container which is not handed out yet. */
export interface ProcessInside {
  readonly pid: number;
  readonly pidfd: number;
}

/** In [daemon] runtime_directory: a directory for each container whose hooks run, with what they are told. */
const BUNDLES = 'hooks';

/** Removes what a berthd that was killed has left. */
export function removeHookBundles(runtimeDirectory: string): void {
  rmSync(join(runtimeDirectory, BUNDLES), { recursive: true, force: true });
}

/**
 * Runs programs that device specifications ask for: on the host, with the user's rights and no others, in a process namespace
 * that ends with each. They get the OCI runtime's state as input, whose bundle names the container's root.
 *
 * @param process one that is in the container
 * @throws BerthError BERTH_HOOK_FAILED
 */
export async function runHooks(
  hooks: readonly CdiHook[],
  order: LaunchOrder,
  process: ProcessInside,
  runtimeDirectory: string,
): Promise<void> {
  if (hooks.length === 0) return;
  const root = rootOf(process, order);
  const bundles = join(runtimeDirectory, BUNDLES);
  await mkdir(bundles, { recursive: true, mode: 0o755 });
  const bundle = await mkdtemp(join(bundles, 'bundle-'));
  try {
    await writeFile(join(bundle, 'config.json'), JSON.stringify({ ociVersion: OCI_VERSION, root: { path: ROOT } }));
    await chmod(bundle, 0o755);
    const state = { ociVersion: OCI_VERSION, id: basename(bundle), status: 'creating', pid: process.pid, bundle };
    for (const hook of hooks) await runHook(hook, order, root, JSON.stringify(state));
  } finally {
    closeSync(root);
    await rm(bundle, { recursive: true });
  }
}

/** Nothing below it is looked up here. */
function rootOf({ pid, pidfd }: ProcessInside, order: LaunchOrder): number {
  const root = openSync(`/proc/${pid}/root`, O_PATH | constants.O_DIRECTORY);
  if (native.isAlive(pidfd)) return root;
  closeSync(root);
  throw new BerthError('BERTH_JOB_ENDED', { job: order.jobId, host: order.nodeName });
}

async function runHook(hook: CdiHook, order: LaunchOrder, root: number, state: string): Promise<void> {
  const seconds = hook.timeout ?? TIME_LIMIT;
  const environment = Object.fromEntries(
    hook.env.flatMap((text) =>
      text.includes('=') ? [[text.slice(0, text.indexOf('=')), text.slice(text.indexOf('=') + 1)]] : [],
    ),
  );
  const child = await spawnAs(order, [hook.path, ...hook.args.slice(1)], ['pipe', 'ignore', 'pipe', root], environment);
  const messages = collectMessages(child);
  const late = AbortSignal.timeout(seconds * 1000);
  const ended = endOnAbort(child, [late]);
  try {
    // One that does not read its input closes it.
    child.stdin?.on('error', () => undefined).end(state);
    const status = await endOf(child);
    if (status === 0) return;
    const why = late.aborted
      ? `it did not end within ${seconds} s`
      : (lastWords(messages()) ?? `it ended with status ${status ?? 'none'}`);
    throw new BerthError('BERTH_HOOK_FAILED', { hook: hook.path, host: order.nodeName, why });
  } finally {
    ended();
  }
}
