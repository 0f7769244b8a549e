import { closeSync, existsSync, mkdirSync, openSync, rmSync } from 'node:fs';
import { dirname, join } from 'node:path';
import type { Config } from '../config/index.js';
import { ContainerBuilder, ownerOf, specify, type Namespaces } from '../container/index.js';
import { BerthError, reasonOf } from '../errors/index.js';
import { builderExecutable, native } from '../native/index.js';
import { ProbeFailure, ProbeSession, type StuckQuestions } from './probe.js';

/** A user who owns nothing. */
const NOBODY = 65_534;

/** Milliseconds that building, and then running, may take. */
const LIMIT = 4_000;

/** The image with one program, beside the addon. */
const image = [join(dirname(builderExecutable), '..', 'lib'), dirname(builderExecutable)]
  .map((directory) => join(directory, 'canary.squashfs'))
  .find((path) => existsSync(path));

/** The loop device that served the image last. */
let lastLoop = -1;

/**
 * Launches a tiny image as a launch does, all but Slurm and the store: mounted, built with the site's mounts for a user
 * who owns nothing, pinned, and entered by a program that then runs in it. Leaves nothing.
 *
 * @returns milliseconds
 * @throws BerthError what a launch would fail with
 */
export async function launchCanary(config: Config, probe: ProbeSession, stuck: StuckQuestions): Promise<number> {
  const start = performance.now();
  if (image === undefined) throw failed('canary.squashfs is not beside the other files of Berth');
  const workspace = join(config.daemon.runtimeDirectory, 'workspace');
  const builder = new ContainerBuilder(await probe.pidfd());
  const file = openSync(image, 'r');
  let mount: number | undefined;
  try {
    await builder.start();
    const identity = { uid: NOBODY, gid: NOBODY, gids: [] };
    const specification = specify(await ownerOf(identity), config, config.slurm.spoolDir, workspace);
    const mounted = await native.mountImage(file, 'squashfs', lastLoop);
    mount = mounted.mount;
    lastLoop = mounted.loopIndex;
    let kept: Namespaces | undefined;
    const keep = (namespaces: Namespaces): void => {
      kept = namespaces;
    };
    await builder.finish(specification, mount, [], LIMIT, keep);
    if (!kept) throw failed('the build ended without a container');
    await enter(kept, join(config.daemon.runtimeDirectory, 'containers', 'canary'), stuck);
  } catch (error) {
    throw error instanceof BerthError ? error : failed(reasonOf(error), error);
  } finally {
    builder.end();
    if (mount !== undefined) native.close(mount);
    closeSync(file);
  }
  return performance.now() - start;
}

/** Pins it, as every container is; runs the program; and lets go of it. */
async function enter({ mount, user }: Namespaces, directory: string, stuck: StuckQuestions): Promise<void> {
  const pin = join(directory, 'mnt');
  const inside = new ProbeSession(stuck, mount);
  try {
    mkdirSync(directory, { recursive: true, mode: 0o700 });
    native.pin(mount, pin);
    const words = [String(NOBODY), String(NOBODY), '/canary'];
    const output = (await inside.ask('enter', words, { limit: LIMIT })).toString().trim();
    if (output !== `canary ${NOBODY}`) throw failed(`its program wrote "${output}"`);
  } catch (error) {
    if (error instanceof ProbeFailure) throw failed(`its program: ${error.message}`, error);
    throw error;
  } finally {
    inside.close();
    native.unpin(pin);
    rmSync(directory, { recursive: true, force: true });
    native.close(mount);
    if (user !== undefined) native.close(user);
  }
}

function failed(why: string, cause?: unknown): BerthError {
  return new BerthError('BERTH_INTERNAL', { what: 'the canary did not run', why }, { cause });
}
