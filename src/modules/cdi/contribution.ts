import { close } from 'node:fs';
import { basename, dirname } from 'node:path';
import { promisify } from 'node:util';
import type { Contribution, PlannedChange, PlannedFile, PlannedMount } from '../../options/index.js';
import { v1 } from '../../protocol/index.js';
import { isOthersVariable } from '../forms.js';
import type { ModuleCdi } from '../module.js';
import { NotLibrary, readLibrary } from '../mpi/elf.js';
import { hostFiles } from '../mpi/host.js';
import { cannotUse, originOf, type ModuleUse } from '../use.js';
import { understandHooks } from './hooks.js';
import type { CdiDevice, CdiRegistry } from './registry.js';
import type { CdiHook, CdiMount, Edits } from './specification.js';

const closeFile = promisify(close);

const { KIND_SET, KIND_APPEND } = v1.EnvironmentChange.Kind;

export interface CdiContribution extends Contribution {
  /** Programs that have to run once the container is built. */
  readonly hooks: readonly CdiHook[];
}

/**
 * What the job's devices of a kind need in a container. Which devices these are is Slurm's decision, as the kernel enforces it:
 * a device is the job's when the job may use all of its nodes.
 *
 * @throws BerthError BERTH_CDI_SPECIFICATION, BERTH_MODULE_HOST, BERTH_JOB_DEVICES
 */
export async function cdiOf(use: ModuleUse, cdi: ModuleCdi, registry: CdiRegistry): Promise<CdiContribution> {
  const devices = await select(use, cdi, registry);
  const common = new Set(devices.map(({ specification }) => specification.edits));
  const edits = [...common, ...devices.map((device) => device.edits)];
  const { links, libraryDirectories, programs } = understandHooks(distinct(edits.flatMap(({ hooks }) => hooks)));
  const inside = programs.find(({ name }) => name === 'startContainer');
  if (inside)
    throw cannotUse(use, `a startContainer hook (${inside.path}) would run in the image, which Berth does not do`);
  const mounts = distinct(edits.flatMap((each) => each.mounts));
  const allLinks = [...links, ...(await sonameLinks(mounts, libraryDirectories))];
  return {
    mounts: [...mounts.map((mount) => mountOf(use, mount)), ...nodeMounts(use, edits)],
    files: firstOfEach(allLinks, ({ path }) => path).map((link) => linkFile(use, link)),
    environment: [...variablesOf(use, edits), ...libraryPath(use, libraryDirectories)],
    hooks: programs,
  };
}

async function select(use: ModuleUse, { kind, devices }: ModuleCdi, registry: CdiRegistry): Promise<CdiDevice[]> {
  const { kinds, faults } = await registry.current();
  const fault = faults.find((each) => each.kind === kind);
  if (fault) throw fault.error;
  const known = kinds.get(kind);
  if (!known) {
    const [unreadable] = faults.filter((each) => each.kind === undefined);
    if (unreadable) throw unreadable.error;
    throw cannotUse(use, `no CDI specification in ${registry.directories.join(' or ')} describes ${kind}`);
  }
  if (devices !== 'granted') {
    return devices.map((name) => {
      const device = known.get(name);
      if (device) return device;
      throw cannotUse(use, `there is no ${kind}=${name} among ${[...known.keys()].join(', ')}`);
    });
  }
  const granted = await grantedOf(use, [...known.values()]);
  if (granted.length === 0) throw cannotUse(use, `the job was given no ${kind} of this node`);
  return granted;
}

/**
 * Specifications describe one device under several names (its number, its UUID), and "all" beside each: of these, the one with
 * the fewest nodes that are not there yet is enough.
 */
async function grantedOf(use: ModuleUse, devices: readonly CdiDevice[]): Promise<CdiDevice[]> {
  const nodesOf = ({ edits }: CdiDevice): string[] => edits.deviceNodes.map(({ hostPath }) => hostPath);
  const granted = await use.devices.granted(devices.flatMap(nodesOf));
  const candidates = devices
    .map((device) => ({ device, nodes: nodesOf(device) }))
    .filter(({ nodes }) => nodes.length > 0 && nodes.every((node) => granted.has(node)))
    .sort((a, b) => a.nodes.length - b.nodes.length);
  const covered = new Set<string>();
  return candidates.flatMap(({ device, nodes }) => {
    if (nodes.every((node) => covered.has(node))) return [];
    for (const node of nodes) covered.add(node);
    return [device];
  });
}

function mountOf(use: ModuleUse, { hostPath, containerPath, readOnly, recursive }: CdiMount): PlannedMount {
  const message = { source: hostPath, destination: containerPath, readOnly, shallow: !recursive };
  return { origin: originOf(use), message: { kind: v1.BuildMount.Kind.KIND_BIND, ...message } };
}

/** The host's /dev is in every container: only what is to be elsewhere needs a mount of its own. */
function nodeMounts(use: ModuleUse, edits: readonly Edits[]): PlannedMount[] {
  const nodes = distinct(edits.flatMap(({ deviceNodes }) => deviceNodes));
  const elsewhere = nodes.filter(({ path, hostPath }) => path !== hostPath || !path.startsWith('/dev/'));
  return elsewhere.map(({ path, hostPath }) => ({
    origin: originOf(use),
    message: { kind: v1.BuildMount.Kind.KIND_BIND, source: hostPath, destination: path, devices: true },
  }));
}

function linkFile(use: ModuleUse, { path, target }: { path: string; target: string }): PlannedFile {
  return { origin: originOf(use), message: { path, target, replace: true } };
}

/** Which devices a rank has is told by Slurm's variables, which no specification may change. */
function variablesOf(use: ModuleUse, edits: readonly Edits[]): PlannedChange[] {
  const variables = edits.flatMap((each) => each.variables).filter(({ name }) => !isOthersVariable(name));
  // As in the specification, the last one counts: of a device over that of all devices.
  const byName = new Map(variables.map(({ name, value }) => [name, value]));
  return [...byName].map(([name, value]) => ({ origin: originOf(use), message: { kind: KIND_SET, name, value } }));
}

/** What ldconfig(8) would have put into the linker's cache is found through this: the image's cache is not ours to change. */
function libraryPath(use: ModuleUse, directories: readonly string[]): PlannedChange[] {
  return distinct(directories).map((value) => ({
    origin: originOf(use),
    message: { kind: KIND_APPEND, name: 'LD_LIBRARY_PATH', value, separator: ':' },
  }));
}

/** The links by which libraries are found that were mounted under the names of their versions, as ldconfig(8) makes them. */
async function sonameLinks(
  mounts: readonly CdiMount[],
  directories: readonly string[],
): Promise<{ path: string; target: string }[]> {
  const places = new Set(mounts.map(({ containerPath }) => containerPath));
  const libraries = mounts.filter(
    ({ containerPath }) => directories.includes(dirname(containerPath)) && /\.so(?:\.|$)/.test(basename(containerPath)),
  );
  const links = await Promise.all(
    libraries.map(async ({ hostPath, containerPath }) => {
      const soname = await sonameOf(hostPath);
      if (soname === undefined || soname.includes('/') || soname === basename(containerPath)) return [];
      const path = `${dirname(containerPath)}/${soname}`;
      return places.has(path) ? [] : [{ path, target: basename(containerPath) }];
    }),
  );
  return links.flat();
}

async function sonameOf(path: string): Promise<string | undefined> {
  const descriptor = await hostFiles.open(path);
  if (descriptor === undefined) return undefined;
  try {
    return (await readLibrary(descriptor)).soname;
  } catch (error) {
    if (error instanceof NotLibrary) return undefined;
    throw error;
  } finally {
    await closeFile(descriptor);
  }
}

function distinct<T>(all: readonly T[]): T[] {
  return firstOfEach(all, (each) => JSON.stringify(each));
}

function firstOfEach<T>(all: readonly T[], keyOf: (each: T) => string): T[] {
  const byKey = new Map<string, T>();
  for (const each of all) if (!byKey.has(keyOf(each))) byKey.set(keyOf(each), each);
  return [...byKey.values()];
}
