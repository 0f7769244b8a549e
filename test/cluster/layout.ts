/** Where everything of a cluster lies, and the record that says what the cluster is. */
import { readFile, realpath, writeFile } from 'node:fs/promises';
import { basename, dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { ClusterError, errorCode } from './errors.js';

/** The project's checkout, which the hosts see at its own path. */
export const repository = resolve(dirname(fileURLToPath(import.meta.url)), '../..');

/** Directory of the shell scripts that run inside the namespaces. */
export const scripts = dirname(fileURLToPath(import.meta.url));

/** What `npm run build` leaves for the cluster to run. */
export const artifacts = {
  plugin: join(repository, 'build/lib/spank_berth.so'),
  prologPlugin: join(repository, 'build/lib/spank_berth_prolog.so'),
  daemon: join(repository, 'build/lib/berthd.js'),
  programs: join(repository, 'build/bin'),
} as const;

/** The host on which users log in, and where slurmctld runs. */
export const loginHost = 'login';

/** Names of the compute hosts: n1 to nN. */
export function computeHosts(nodes: number): string[] {
  return Array.from({ length: nodes }, (_, index) => `n${String(index + 1)}`);
}

/** Every path of a cluster on the machine. */
export class Layout {
  readonly record: string;
  /** tmpfs that holds the pinned namespaces. */
  readonly namespaces: string;
  readonly etc: string;
  readonly slurmEtc: string;
  readonly berthEtc: string;
  /** Seen as /home by all hosts. */
  readonly home: string;
  /** Seen as /var/lib/berth by all hosts. */
  readonly store: string;
  readonly log: string;
  readonly run: string;
  /** Seen as /run/munge by all hosts. */
  readonly mungeSocket: string;
  readonly mungeKey: string;
  readonly spool: string;
  /** State of slurmctld. */
  readonly state: string;
  /** Empty directories that give the hosts the mount points which the machine lacks. */
  readonly mountPoints: string;
  /** Seen as /var/lib/extrausers by all hosts: users whom only the name service knows. */
  readonly nameService: string;

  constructor(readonly dir: string) {
    this.record = join(dir, 'cluster.json');
    this.namespaces = join(dir, 'ns');
    this.etc = join(dir, 'etc');
    this.slurmEtc = join(dir, 'etc/slurm');
    this.berthEtc = join(dir, 'etc/berth');
    this.home = join(dir, 'home');
    this.store = join(dir, 'store');
    this.log = join(dir, 'log');
    this.run = join(dir, 'run');
    this.mungeSocket = join(dir, 'run/munge');
    this.mungeKey = join(dir, 'munge');
    this.spool = join(dir, 'spool');
    this.state = join(dir, 'state');
    this.mountPoints = join(dir, 'mount-points');
    this.nameService = join(dir, 'mount-points/lib/extrausers');
  }

  mountNamespace(host: string): string {
    return join(this.namespaces, host, 'mnt');
  }

  utsNamespace(host: string): string {
    return join(this.namespaces, host, 'uts');
  }

  logFile(host: string, daemon: string): string {
    return join(this.log, `${host}.${daemon}.log`);
  }

  pidFile(host: string, daemon: string): string {
    return join(this.run, `${host}.${daemon}.pid`);
  }
}

/**
 * A path as Slurm's files and overlay mount options can hold it: absolute, symbolic links resolved.
 * @throws ClusterError when a character of it would need quoting there
 */
export function plainPath(path: string, purpose: string): string {
  if (!/^\/[A-Za-z0-9._+@/-]+$/.test(path)) {
    throw new ClusterError(
      `Cannot use ${path} as ${purpose}`,
      "Slurm's configuration files and mount options cannot quote all of its characters",
      'Choose a path of letters, digits and . _ + @ - only.',
    );
  }
  return path;
}

/**
 * The true path of a cluster directory, which need not exist yet.
 * @throws ClusterError when its parent does not exist
 */
export async function clusterDirectory(dir: string): Promise<string> {
  const absolute = resolve(dir);
  try {
    return await realpath(absolute);
  } catch (error) {
    if (errorCode(error) !== 'ENOENT') throw error;
  }
  try {
    return join(await realpath(dirname(absolute)), basename(absolute));
  } catch {
    throw new ClusterError(
      `Cannot use ${absolute}`,
      'its parent directory does not exist',
      `Make it first: mkdir -p ${dirname(absolute)}`,
    );
  }
}

/** What a cluster is, kept in DIR/cluster.json from the first moment of `up` to the last of `down`. */
export interface ClusterRecord {
  readonly version: 1;
  /** True when `up` made the directory, so that `down` removes it. */
  readonly createdDirectory: boolean;
  readonly nodes: number;
  /** Whether the plugin is configured and berthd is run. */
  readonly berth: boolean;
  /** True once `up` has finished. */
  readonly complete: boolean;
}

function isRecord(value: unknown): value is ClusterRecord {
  return (
    typeof value === 'object' &&
    value !== null &&
    'version' in value &&
    value.version === 1 &&
    'createdDirectory' in value &&
    typeof value.createdDirectory === 'boolean' &&
    'nodes' in value &&
    typeof value.nodes === 'number' &&
    'berth' in value &&
    typeof value.berth === 'boolean' &&
    'complete' in value &&
    typeof value.complete === 'boolean'
  );
}

/** Writes the record; with `create`, only when there is none yet (EEXIST otherwise). */
export async function writeRecord(layout: Layout, record: ClusterRecord, create = false): Promise<void> {
  await writeFile(layout.record, `${JSON.stringify(record, null, 2)}\n`, { flag: create ? 'wx' : 'w', mode: 0o644 });
}

/**
 * The record of a cluster, or undefined when the directory has none.
 * @throws ClusterError when the file is not a record of this version
 */
export async function readRecord(layout: Layout): Promise<ClusterRecord | undefined> {
  let content: string;
  try {
    content = await readFile(layout.record, 'utf8');
  } catch (error) {
    if (errorCode(error) === 'ENOENT' || errorCode(error) === 'ENOTDIR') return undefined;
    throw error;
  }
  let value: unknown;
  try {
    value = JSON.parse(content);
  } catch {
    value = undefined;
  }
  if (!isRecord(value)) {
    throw new ClusterError(
      `Cannot use ${layout.dir}`,
      `${layout.record} is not a cluster's record of this version`,
      'Take it down with the version of this program that started it, or remove the directory by hand.',
    );
  }
  return value;
}
