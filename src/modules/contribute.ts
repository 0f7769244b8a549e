import { constants, lstatSync, type Stats } from 'node:fs';
import { open, realpath } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { BerthError, errorCode, reasonOf } from '../errors/index.js';
import type { PlannedChange, PlannedFile, PlannedMount } from '../options/index.js';
import { v1 } from '../protocol/index.js';
import { isPattern, matches } from './glob.js';
import type { ModuleChange, ModuleCopy, ModuleMount } from './module.js';
import { fillIn, fillInPath } from './placeholders.js';
import { refuseUntrusted, Untrusted } from './trusted.js';
import { cannotUse, originOf, type ModuleUse } from './use.js';

/** Longest file that is copied, in bytes: it is kept in the memory of each container. */
const COPY_LIMIT = 256 * 1024;

const { KIND_BIND } = v1.BuildMount.Kind;
const { PROPAGATION_PRIVATE, PROPAGATION_SLAVE } = v1.BuildMount.Propagation;
const kinds: Readonly<Record<ModuleChange['kind'], v1.EnvironmentChange.Kind>> = {
  unset: v1.EnvironmentChange.Kind.KIND_UNSET,
  set: v1.EnvironmentChange.Kind.KIND_SET,
  set_if_unset: v1.EnvironmentChange.Kind.KIND_SET_IF_UNSET,
  prepend: v1.EnvironmentChange.Kind.KIND_PREPEND,
  append: v1.EnvironmentChange.Kind.KIND_APPEND,
};

/** @throws BerthError BERTH_MODULE_HOST where nothing matches a pattern that is not optional. */
export async function mountsOf(use: ModuleUse): Promise<PlannedMount[]> {
  return (await Promise.all(use.module.mounts.map((mount) => mountOf(use, mount)))).flat();
}

async function mountOf(use: ModuleUse, mount: ModuleMount): Promise<PlannedMount[]> {
  const { readOnly, optional, recursive, propagation } = mount;
  const common = {
    kind: KIND_BIND,
    readOnly,
    optional,
    shallow: !recursive,
    propagation: propagation === 'private' ? PROPAGATION_PRIVATE : PROPAGATION_SLAVE,
  };
  const places = await placesOf(use, mount);
  return places.map((place) => ({ origin: originOf(use), message: { ...common, ...place } }));
}

/** What stands for the job is filled in first: a user's name with a star in it is looked for as it is written. */
async function placesOf(
  use: ModuleUse,
  { source, destination, optional }: ModuleMount | ModuleCopy,
): Promise<{ source: string; destination: string }[]> {
  const from = fillInPath(source, use.request);
  const to = destination === undefined ? undefined : fillInPath(destination, use.request);
  if (from === undefined || (destination !== undefined && to === undefined))
    throw cannotUse(use, `${destination ?? source} cannot be filled in for the user ${use.request.user}`);
  if (!isPattern(source)) return [{ source: from, destination: to ?? from }];
  const found = await matches(from);
  if (found.length === 0 && !optional) throw cannotUse(use, `nothing matches ${from}`);
  return found.map((each) => ({ source: each, destination: to === undefined ? each : `${to}/${basename(each)}` }));
}

/** @throws BerthError BERTH_MODULE_HOST for a file that is missing, too large, or not for everybody to read. */
export async function filesOf(use: ModuleUse): Promise<PlannedFile[]> {
  return (await Promise.all(use.module.copies.map((copy) => copiesOf(use, copy)))).flat();
}

async function copiesOf(use: ModuleUse, copy: ModuleCopy): Promise<PlannedFile[]> {
  const places = await placesOf(use, copy);
  const files = await Promise.all(
    places.map(async ({ source, destination }) => {
      const content = await contentOf(use, source, copy.optional);
      return content === undefined
        ? []
        : [{ origin: originOf(use), message: { path: destination, content, replace: true } }];
    }),
  );
  return files.flat();
}

/**
 * berthd reads it with root's rights: only what root wrote for everybody to read is handed on. Where a user's directory is on
 * the way, as with %u in the path, that could be a link to what lies out of their reach.
 */
async function contentOf(use: ModuleUse, path: string, optional: boolean): Promise<Buffer | undefined> {
  try {
    const place = await realpath(dirname(path));
    refuseUnreachable(place);
    const file = await open(
      join(place, basename(path)),
      constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK,
    );
    try {
      const fault = faultOf(await file.stat());
      if (fault !== undefined) throw cannotUse(use, `${path} cannot be copied: ${fault}`);
      return await file.readFile();
    } finally {
      await file.close();
    }
  } catch (error) {
    if (error instanceof BerthError) throw error;
    if (error instanceof Untrusted) throw cannotUse(use, `${path} cannot be copied: ${error.message}`);
    if (optional && errorCode(error) === 'ENOENT') return undefined;
    const why = errorCode(error) === 'ELOOP' ? 'it is a symbolic link: name what it leads to' : reasonOf(error);
    throw cannotUse(use, `${path} cannot be copied: ${why}`, error);
  }
}

/**
 * @param directory without symbolic links
 * @throws Untrusted unless it and all directories above it are root's, and everybody may pass them.
 */
function refuseUnreachable(directory: string): void {
  refuseUntrusted(directory);
  for (let at = directory; ; at = dirname(at)) {
    if ((lstatSync(at).mode & 0o001) === 0) throw new Untrusted(`not everybody may enter ${at}`);
    if (at === '/') return;
  }
}

function faultOf(status: Stats): string | undefined {
  const { uid, mode, size } = status;
  if (!status.isFile()) return 'it is not a regular file';
  if (uid !== 0 && uid !== process.geteuid?.()) return `it belongs to uid ${uid}, not to root`;
  if ((mode & 0o022) !== 0) return 'others than root may write to it';
  if ((mode & 0o004) === 0) return 'not everybody may read it';
  return size > COPY_LIMIT ? `it has ${size} bytes, more than the ${COPY_LIMIT} that are copied` : undefined;
}

/** In the order in which the module's file has them by kind: what is unset first, what is appended last. */
export function environmentOf(use: ModuleUse): PlannedChange[] {
  return use.module.environment.map(({ kind, name, value, separator }) => ({
    origin: originOf(use),
    message: { kind: kinds[kind], name, value: fillIn(value, use.request), separator },
  }));
}
