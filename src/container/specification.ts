import { readFileSync } from 'node:fs';
import type { Config } from '../config/index.js';
import { BerthError, errorCode } from '../errors/index.js';
import type { Afterwards } from '../modules/index.js';
import type { Account } from '../native/index.js';
import {
  checkSize,
  type AccountLines,
  type ContainerOptions,
  type Contribution,
  type PlannedFile,
} from '../options/index.js';
import type { v1 } from '../protocol/index.js';
import { groupLines, passwdLine } from './accounts.js';
import { identityMap, rootMap, subordinateRange } from './idmap.js';
import type { Owner } from './owner.js';
import { planContainer, type Plan } from './plan.js';

/** Everything the builder needs to know, and what root has to do for it. */
export interface Specification extends Afterwards {
  readonly message: v1.BuildSpec.$Properties;
  readonly account: Account;
  readonly plan: Plan;
  /** Is the user root in there? */
  readonly root: boolean;
  /** As root with one id alone: do changes of owners and identity seem to succeed? */
  readonly pretend: boolean;
  /** Empty without a user namespace. */
  readonly uidMap: string;
  readonly gidMap: string;
  /** Does the image mount get the same map, so that its files show their true owners? */
  readonly mapsImage: boolean;
}

/** Host files whose present content a container gets: names of hosts and how to look them up. */
const COPIED = ['/etc/resolv.conf', '/etc/hosts'];

/**
 * Inside, the files say everything: a service of the host's that an image's nsswitch.conf names cannot be asked in there,
 * and would be waited for.
 */
const NSSWITCH = ['passwd', 'group', 'shadow', 'networks', 'protocols', 'services', 'ethers', 'rpc']
  .map((database) => `${database}: files\n`)
  .concat('hosts: files dns\n')
  .join('');

/** What is wanted of a container, besides its image. */
export interface Wanted {
  readonly options: ContainerOptions;
  /** What the chosen modules add. */
  readonly modules: Contribution & Partial<Afterwards> & { readonly accounts?: AccountLines };
  /** Beside those of the modules. */
  readonly files: readonly PlannedFile[];
}

/** For a container that is like any other. */
export const NOTHING_WANTED: Wanted = {
  options: { volumes: [], keptVariables: [], variables: [], unshare: [] },
  modules: { mounts: [], files: [], environment: [] },
  files: [],
};

/**
 * @param spoolDir SlurmdSpoolDir, where PMIx has its sockets; may be empty
 * @param workspace the directory the builder mounts over
 * @throws BerthError BERTH_OPTION for root without user namespaces; what {@link planContainer} throws.
 */
export function specify(
  owner: Owner,
  config: Config,
  spoolDir: string,
  workspace: string,
  { options, modules, files }: Wanted = NOTHING_WANTED,
): Specification {
  const { uid, gid, account } = owner;
  const gids = [...new Set([gid, ...owner.gids])];
  const userNamespace = config.container.userns === 'on';
  const root = options.remapRoot ?? (userNamespace && config.container.remapRoot);
  if (root && !userNamespace) {
    const why = '[container] userns = "off": this site has no user namespaces, in which alone a user can be root';
    throw new BerthError('BERTH_OPTION', { option: '--container-remap-root', value: 'on', why });
  }
  const plan = planContainer(owner, config, options, modules, spoolDir);
  const { allowedSources, deniedSources, deniedDestinations } = config.volumes;
  const maps = userNamespace ? idMaps(owner, gids, root) : NO_ID_MAPS;
  return {
    account,
    plan,
    root,
    checks: modules.checks ?? [],
    hooks: modules.hooks ?? [],
    ...maps,
    message: {
      userNamespace,
      uid,
      gid,
      gids: [...owner.gids],
      workspace,
      mounts: plan.mounts.map(({ message }) => message),
      files: [
        ...accountFiles(owner, root, config, modules.accounts),
        ...hostFiles(),
        ...[...plan.files, ...files].map(({ message }) => message),
      ],
      root,
      pretend: maps.pretend,
      ...writableLayer(options, config),
      unshare: {
        network: options.unshare.includes('net'),
        ipc: options.unshare.includes('ipc'),
        hostname: options.unshare.includes('uts'),
      },
      allowedSources: [...allowedSources],
      deniedSources: [...deniedSources],
      deniedDestinations: [...deniedDestinations],
    },
  };
}

type IdMaps = Pick<Specification, 'uidMap' | 'gidMap' | 'mapsImage' | 'pretend'>;

const NO_ID_MAPS: IdMaps = { uidMap: '', gidMap: '', mapsImage: false, pretend: false };

function idMaps({ uid, gid, account }: Owner, gids: readonly number[], root: boolean): IdMaps {
  const [uidRanges = '', gidRanges = ''] = ['/etc/subuid', '/etc/subgid'].map((path) => readHostFile(path)?.toString());
  const subUids = subordinateRange(uidRanges, account.name, uid);
  const subGids = subordinateRange(gidRanges, account.name, uid);
  const both = subUids !== undefined && subGids !== undefined;
  if (!root)
    return { uidMap: identityMap([uid], subUids), gidMap: identityMap(gids, subGids), mapsImage: both, pretend: false };
  // With one of the two alone, files would have owners without groups: then neither is used.
  return {
    uidMap: rootMap(uid, both ? subUids : undefined),
    gidMap: rootMap(gid, both ? subGids : undefined),
    mapsImage: true,
    pretend: !both,
  };
}

/** The layer for what is written, where the container has one. */
function writableLayer(
  { writable, save }: ContainerOptions,
  config: Config,
): Pick<v1.BuildSpec.$Properties, 'writable'> {
  const isWritable = config.container.writable || save !== undefined;
  const wanted = writable ?? (isWritable ? {} : undefined);
  if (!wanted) return {};
  if (wanted.directory !== undefined) return { writable: { directory: wanted.directory } };
  const { writableLimit, writableSize } = config.container;
  const size = wanted.size ?? Math.min(writableSize, writableLimit);
  checkSize(size, writableLimit, '[container] writable_limit', '--container-writable');
  return { writable: { size } };
}

/** passwd and group: the caller, what site and modules add, and the image's own accounts; nobody else of the site. */
function accountFiles(
  { uid, gid, account }: Owner,
  root: boolean,
  config: Config,
  modules: AccountLines = { passwd: '', group: '' },
): v1.BuildFile.$Properties[] {
  const added = (path: string | undefined, lines: string): Buffer =>
    Buffer.concat([withNewline(path ? readHostFile(path) : undefined), Buffer.from(lines)]);
  // Root's files keep the user's group among the names: supplementary groups stay what they are.
  const own = root ? passwdLine(0, 0, { ...account, name: 'root' }) : passwdLine(uid, gid, account);
  const groups = root ? 'root:x:0:\n' : groupLines(account.groups);
  return [
    {
      path: '/etc/passwd',
      content: Buffer.concat([Buffer.from(own), added(config.container.passwd, modules.passwd)]),
      appendImage: true,
    },
    {
      path: '/etc/group',
      content: Buffer.concat([Buffer.from(groups), added(config.container.group, modules.group)]),
      appendImage: true,
    },
  ];
}

/** An administrator's file may end without one. */
function withNewline(content: Buffer = Buffer.alloc(0)): Buffer {
  return content.length === 0 || content.at(-1) === 0x0a ? content : Buffer.concat([content, Buffer.from('\n')]);
}

/** How hosts are called and what time it is, as outside. */
function hostFiles(): v1.BuildFile.$Properties[] {
  return [
    ...COPIED.flatMap((path) => copyOf(path)),
    // An image's is a link into its own time zones, where nothing may change.
    ...copyOf('/etc/localtime', { replace: true }),
    { path: '/etc/nsswitch.conf', content: Buffer.from(NSSWITCH) },
  ];
}

function copyOf(path: string, more: v1.BuildFile.$Properties = {}): v1.BuildFile.$Properties[] {
  const content = readHostFile(path);
  return content ? [{ path, content, ...more }] : [];
}

/**
 * A small file of the node's own /etc; undefined where there is none. Read at once rather than by the thread pool: that
 * would take ten times as long, and a node whose /etc hangs has no use for a container.
 */
function readHostFile(path: string): Buffer | undefined {
  try {
    return readFileSync(path);
  } catch (error) {
    if (errorCode(error) === 'ENOENT') return undefined;
    throw error;
  }
}
