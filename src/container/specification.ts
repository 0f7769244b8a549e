import { readFileSync } from 'node:fs';
import type { Config } from '../config/index.js';
import { BerthError, errorCode } from '../errors/index.js';
import { native, type Account } from '../native/index.js';
import type { v1 } from '../protocol/index.js';
import { groupLines, passwdLine } from './accounts.js';
import { identityMap, subordinateRange } from './idmap.js';

/** Whose container, with the groups that Slurm gives the ranks. */
export interface Identity {
  readonly uid: number;
  readonly gid: number;
  readonly gids: readonly number[];
}

/** Everything the builder needs to know, and what root has to do for it. */
export interface Specification {
  readonly message: v1.BuildSpec.$Properties;
  readonly account: Account;
  /** Empty without a user namespace. */
  readonly uidMap: string;
  readonly gidMap: string;
  /** Does the image mount get the same map, so that its files show their true owners? */
  readonly mapsImage: boolean;
}

interface Mount {
  readonly source: string;
  readonly destination: string;
  readonly readOnly?: boolean;
  readonly optional?: boolean;
  readonly devices?: boolean;
}

/** Host files whose present content a container gets: names of hosts and how to look them up. */
const COPIED = ['/etc/resolv.conf', '/etc/hosts'];

/**
 * @param spoolDir SlurmdSpoolDir, where PMIx has its sockets; may be empty
 * @param workspace the directory the builder mounts over
 * @throws BerthError BERTH_IDENTITY when the name service does not know the user.
 */
export async function specify(
  identity: Identity,
  config: Config,
  spoolDir: string,
  workspace: string,
): Promise<Specification> {
  const { uid, gid } = identity;
  const gids = [...new Set([gid, ...identity.gids])];
  const userNamespace = config.container.userns === 'on';
  const account = await accountOf(uid, gids);
  const [uidRanges, gidRanges] = userNamespace ? ['/etc/subuid', '/etc/subgid'].map(readHostFile) : [];
  const subUids = subordinateRange(uidRanges?.toString() ?? '', account.name, uid);
  const subGids = subordinateRange(gidRanges?.toString() ?? '', account.name, uid);
  return {
    account,
    uidMap: userNamespace ? identityMap([uid], subUids) : '',
    gidMap: userNamespace ? identityMap(gids, subGids) : '',
    mapsImage: subUids !== undefined && subGids !== undefined,
    message: {
      userNamespace,
      uid,
      gid,
      gids: [...identity.gids],
      workspace,
      mounts: mountsFor(account, config, spoolDir),
      files: [
        { path: '/etc/passwd', content: Buffer.from(passwdLine(uid, gid, account)), appendImage: true },
        { path: '/etc/group', content: Buffer.from(groupLines(account.groups)), appendImage: true },
        ...COPIED.flatMap(copyOf),
      ],
    },
  };
}

function mountsFor(account: Account, config: Config, spoolDir: string): Mount[] {
  const mounts: Mount[] = [
    ...config.container.mounts.map(({ source, destination, readOnly }) => ({ source, destination, readOnly })),
    ...(config.container.home && account.home.startsWith('/') && account.home !== '/' ? [same(account.home)] : []),
    ...(spoolDir ? [same(spoolDir)] : []),
    // PMIx and Open MPI keep their session directories here; with a job_container plugin it is the job's own.
    { source: '/tmp', destination: '/tmp' },
    same('/var/tmp'),
    { source: '/proc', destination: '/proc' },
    { source: '/sys', destination: '/sys' },
    { source: '/dev', destination: '/dev', devices: true },
  ];
  // The site's own words come first: what it mounts at a place stays there.
  const byDestination = new Map<string, Mount>();
  for (const mount of mounts) {
    if (!byDestination.has(mount.destination)) byDestination.set(mount.destination, mount);
  }
  // What is mounted later covers what is below it: parents first.
  return [...byDestination.values()].sort((a, b) => depth(a.destination) - depth(b.destination));
}

function same(path: string): Mount {
  return { source: path, destination: path, optional: true };
}

function depth(path: string): number {
  return path.split('/').length;
}

/**
 * The user's account, with the names of `gids`.
 *
 * @throws BerthError BERTH_IDENTITY when the name service does not know the user.
 */
export async function accountOf(uid: number, gids: readonly number[]): Promise<Account> {
  const account = await native.account(uid, gids);
  if (account) return account;
  throw new BerthError('BERTH_IDENTITY', { uid, why: `the name service of this node knows no user with uid ${uid}` });
}

function copyOf(path: string): v1.BuildFile.$Properties[] {
  const content = readHostFile(path);
  return content ? [{ path, content, appendImage: false }] : [];
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
