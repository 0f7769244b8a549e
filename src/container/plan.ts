import { posix } from 'node:path';
import type { Config } from '../config/index.js';
import { BerthError } from '../errors/index.js';
import { fillIn } from '../modules/index.js';
import {
  checkSize,
  type CacheVolume,
  type ContainerOptions,
  type Contribution,
  type PlannedChange,
  type PlannedFile,
  type PlannedMount,
  type SquashfsVolume,
  type Volume,
} from '../options/index.js';
import { v1 } from '../protocol/index.js';
import type { Owner } from './owner.js';
import { shifterChanges, shifterMounts } from './shifter.js';

/** A volume that berthd has to mount before the builder can put it into its place. */
export type PreparedVolume = SquashfsVolume | CacheVolume;

/** What a container consists of besides its image and the files that Berth writes. */
export interface Plan {
  /** Parents before what lies below them. */
  readonly mounts: readonly PlannedMount[];
  /** For the mounts of KIND_DESCRIPTOR, in their order. */
  readonly prepared: readonly PreparedVolume[];
  readonly files: readonly PlannedFile[];
  /** The site's and the modules' changes to the environment; the image's and the user's come before and after them. */
  readonly environment: readonly PlannedChange[];
}

/** What one mount of the plan is made of. */
interface Part extends PlannedMount {
  readonly prepared?: PreparedVolume;
}

const { KIND_BIND, KIND_TMPFS, KIND_DESCRIPTOR } = v1.BuildMount.Kind;
const { PROPAGATION_PRIVATE, PROPAGATION_SLAVE } = v1.BuildMount.Propagation;

/**
 * @param modules what the chosen modules add
 * @param spoolDir SlurmdSpoolDir, where PMIx has its sockets; may be empty
 * @throws BerthError BERTH_SIZE for a volume beyond the site's limits; BERTH_VOLUME_DUPLICATE for one where the site, or
 * a module, has something else.
 */
export function planContainer(
  owner: Owner,
  config: Config,
  options: ContainerOptions,
  modules: Contribution,
  spoolDir: string,
): Plan {
  const own = ownMounts(owner, config, options);
  const site = siteMounts(owner, config, spoolDir);
  const volumes = options.volumes.map((volume) => volumePart(volume, config));
  const byDestination = new Map<string, Part>();
  for (const part of [...own, ...modules.mounts]) byDestination.set(destinationOf(part), part);
  // The site's own words come first: what it mounts at a place stays there.
  for (const part of site) byDestination.set(destinationOf(part), part);
  const fixed = new Map([...modules.mounts, ...site].map((part) => [destinationOf(part), part]));
  for (const part of volumes) {
    const taken = fixed.get(destinationOf(part));
    if (taken) {
      const why = `${part.origin}, and ${taken.message.source || 'something'} (${taken.origin})`;
      throw new BerthError('BERTH_VOLUME_DUPLICATE', { path: destinationOf(part), why });
    }
    byDestination.set(destinationOf(part), part);
  }
  // What is mounted later covers what is below it: parents first.
  const parts = [...byDestination.values()].sort((a, b) => depth(destinationOf(a)) - depth(destinationOf(b)));
  return {
    mounts: parts.map(({ origin, message }) => ({ origin, message })),
    prepared: parts.flatMap(({ prepared }) => (prepared ? [prepared] : [])),
    files: modules.files,
    environment: [...siteEnvironment(owner, config), ...modules.environment, ...shifterChanges(config)],
  };
}

/** What every container has, unless somebody says otherwise. */
function ownMounts(owner: Owner, config: Config, options: ContainerOptions): Part[] {
  const { home } = owner.account;
  const wantsHome = options.mountHome ?? config.container.home;
  return [
    ...(wantsHome && home.startsWith('/') && home !== '/' ? [own(home, { optional: true })] : []),
    // PMIx and Open MPI keep their session directories here; with a job_container plugin it is the job's own.
    own('/tmp'),
    own('/var/tmp', { optional: true }),
    own('/proc'),
    own('/sys'),
    own('/dev', { devices: true }),
    ...shifterMounts(config),
  ];
}

function own(path: string, more: v1.BuildMount.$Properties = {}): Part {
  return { origin: 'berth', message: { source: path, destination: path, ...more } };
}

function siteMounts(owner: Owner, config: Config, spoolDir: string): Part[] {
  return [
    // Slurm's own: no volume takes its place.
    ...(spoolDir ? [own(spoolDir, { optional: true })] : []),
    ...config.container.mounts.map(({ source, destination, readOnly }) => ({
      origin: 'site',
      message: { source: forUser(source, owner), destination: forUser(destination, owner), readOnly },
    })),
  ];
}

function siteEnvironment(owner: Owner, config: Config): PlannedChange[] {
  return config.container.environment.map((text) => {
    const end = text.indexOf('=');
    const name = text.slice(0, end);
    const value = forUser(text.slice(end + 1), owner);
    return { origin: 'site', message: { kind: v1.EnvironmentChange.Kind.KIND_SET, name, value } };
  });
}

/** What stands for the user's name, uid and home directory in the site's words. */
function forUser(text: string, { uid, account }: Owner): string {
  return fillIn(text, { user: account.name, uid, home: account.home, jobId: 0 });
}

function volumePart(volume: Volume, { volumes: limits }: Config): Part {
  const { destination, origin } = volume;
  const checked = { destination, checked: true };
  switch (volume.kind) {
    case 'bind': {
      const { source, readOnly, recursive, propagation } = volume;
      const kept = propagation === 'private' ? PROPAGATION_PRIVATE : PROPAGATION_SLAVE;
      const message = { ...checked, kind: KIND_BIND, source, readOnly, shallow: !recursive, propagation: kept };
      return { origin, message };
    }
    case 'tmpfs': {
      const { size = Math.min(limits.tmpfsSize, limits.tmpfsLimit) } = volume;
      checkSize(size, limits.tmpfsLimit, '[volumes] tmpfs_limit', origin);
      return { origin, message: { ...checked, kind: KIND_TMPFS, size } };
    }
    case 'squashfs': {
      const message = { ...checked, kind: KIND_DESCRIPTOR, source: volume.source, readOnly: true };
      return { origin, prepared: volume, message };
    }
    case 'cache':
      checkSize(volume.size, limits.cacheLimit, '[volumes] cache_limit', origin);
      return { origin, prepared: volume, message: { ...checked, kind: KIND_DESCRIPTOR, source: volume.source } };
  }
}

function destinationOf({ message }: PlannedMount): string {
  return posix.normalize(message.destination ?? '/');
}

function depth(path: string): number {
  return path.split('/').length;
}
