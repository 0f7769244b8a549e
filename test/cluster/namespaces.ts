/** The hosts' mount and UTS namespaces: made by shell scripts, pinned as files, entered with nsenter. */
import { mkdir, open, readlink, realpath, stat, writeFile } from 'node:fs/promises';
import { availableParallelism } from 'node:os';
import { dirname, join } from 'node:path';
import { requireCommand, toolEnvironment, type CommandOptions } from './command.js';
import { ClusterError } from './errors.js';
import { plainPath, repository, scripts, type Layout } from './layout.js';
import { allowedProcessors, canPin, listedProcessors, lowestProcessor, numbersByProcessor } from './namespace-order.js';

/** Environment variable that marks the processes of a cluster, with the cluster's directory as value. */
export const markerVariable = 'BERTH_CLUSTER_DIR';

/** Source name of the tmpfs that holds the pins, by which template.sh knows those of other clusters. */
const pinsSource = 'berth-cluster-ns';

/** Source name of all file systems made for a cluster, by which every copy of a host's mounts can be told. */
export function mountSource(layout: Layout): string {
  return `berth-cluster:${layout.dir}`;
}

/** Directories the template covers; what has to stay visible beneath them is mounted there again. */
const templateCovers = ['/etc', '/var/lib', '/var/spool', '/home', '/run'];
const overlaid = ['/etc', '/var/lib', '/var/spool'];
/** Directories that each host covers with its own tmpfs. */
const hostCovers = ['/tmp', '/dev/shm'];

const isBeneath = (path: string, directories: readonly string[]): boolean =>
  directories.some((directory) => path === directory || path.startsWith(`${directory}/`));

/** Paths to keep visible, and how. */
interface Visibility {
  /** Directories that other users may not pass, to be covered by ones they may. */
  readonly closed: readonly string[];
  readonly template: readonly string[];
  readonly host: readonly string[];
}

/** The first directory on the way to a path that other users may not pass. */
async function closedAncestor(path: string): Promise<string | undefined> {
  const ancestors: string[] = [];
  for (let directory = dirname(path); directory !== '/'; directory = dirname(directory)) ancestors.unshift(directory);
  for (const ancestor of ancestors) {
    if (((await stat(ancestor)).mode & 0o001) === 0) return ancestor;
  }
  return undefined;
}

/** Directory of the node program's installation when it is outside the system's own directories. */
async function nodeInstallation(): Promise<string | undefined> {
  const installation = dirname(dirname(await realpath(process.execPath)));
  return isBeneath(installation, ['/usr', '/opt', '/bin', '/nix', '/gnu']) ? undefined : installation;
}

/** Search path of daemons and users that finds the node program which runs this. */
export async function searchPath(isRoot: boolean, programs?: string): Promise<string> {
  const installation = await nodeInstallation();
  return [
    ...(programs === undefined ? [] : [programs]),
    ...(installation === undefined ? [] : [join(installation, 'bin')]),
    ...(isRoot ? ['/usr/local/sbin'] : []),
    '/usr/local/bin',
    ...(isRoot ? ['/usr/sbin'] : []),
    '/usr/bin',
    ...(isRoot ? ['/sbin'] : []),
    '/bin',
  ].join(':');
}

async function visibility(layout: Layout): Promise<Visibility> {
  const kept = [
    plainPath(await realpath(repository), "the project's checkout"),
    plainPath(layout.dir, 'cluster directory'),
  ];
  const node = await nodeInstallation();
  if (node !== undefined) kept.push(plainPath(node, 'the installation of Node.js'));
  // Name resolution of machines that use systemd-resolved.
  const resolver = '/run/systemd/resolve';
  const hasResolver = await stat(resolver).then(
    () => true,
    () => false,
  );
  if (hasResolver) kept.push(resolver);

  const closed = new Set<string>();
  for (const path of kept) {
    if (isBeneath(path, [...hostCovers, '/home', '/run'])) continue;
    const ancestor = await closedAncestor(path);
    if (ancestor !== undefined) closed.add(ancestor);
  }
  // A parent has to be mounted before what lies in it.
  const sorted = Array.from(new Set(kept)).sort((a, b) => a.length - b.length);
  return {
    closed: Array.from(closed),
    template: sorted.filter((path) => isBeneath(path, [...templateCovers, ...closed])),
    host: sorted.filter((path) => isBeneath(path, hostCovers)),
  };
}

/**
 * Refuses directories in which the hosts' namespaces could not be built.
 * @throws ClusterError
 */
export function checkDirectory(dir: string): void {
  plainPath(dir, 'cluster directory');
  if (isBeneath(dir, [...overlaid, '/run', '/proc', '/sys', '/dev'])) {
    throw new ClusterError(
      `Cannot use ${dir} as cluster directory`,
      'the hosts see this part of the file system changed',
      'Choose a directory elsewhere, such as /tmp/cluster.',
    );
  }
}

/** Makes and pins the namespaces of all hosts. Files and directories they show must exist already. */
export async function createHosts(layout: Layout, hosts: readonly string[], signal?: AbortSignal): Promise<void> {
  const abort = signal === undefined ? {} : { signal };
  await requireCommand(
    // Private, because the kernel refuses to pin a mount namespace where the pin would propagate.
    [
      'mount',
      '--no-mtab',
      '-t',
      'tmpfs',
      '-o',
      'mode=0755,nosuid,nodev',
      '--make-private',
      pinsSource,
      layout.namespaces,
    ],
    abort,
  );
  const template = join(layout.namespaces, 'template');
  await writeFile(template, '');
  for (const host of hosts) {
    await mkdir(join(layout.namespaces, host));
    await Promise.all([writeFile(layout.mountNamespace(host), ''), writeFile(layout.utsNamespace(host), '')]);
  }

  const visible = await visibility(layout);
  const env = {
    ...toolEnvironment,
    [markerVariable]: layout.dir,
    CLUSTER_DIR: layout.dir,
    SCRIPTS: scripts,
    SOURCE: mountSource(layout),
    CLOSED: visible.closed.join(' '),
  };
  const here = await open('/proc/self/ns/mnt', 'r');
  try {
    await requireCommand(['unshare', '--mount', '--propagation', 'private', 'sh', join(scripts, 'template.sh')], {
      ...abort,
      env: { ...env, KEEP: visible.template.join(' ') },
      descriptor3: here.fd,
    });
    await makeHosts(layout, hosts, template, {
      ...abort,
      env: { ...env, KEEP: visible.host.join(' ') },
      descriptor3: here.fd,
    });
    await requireCommand(['umount', '--no-mtab', template], abort);
  } finally {
    await here.close();
  }
}

/** Makes hosts from the template, several at a time. */
async function makeHosts(
  layout: Layout,
  hosts: readonly string[],
  template: string,
  options: CommandOptions & { readonly env: Readonly<Record<string, string>> },
): Promise<void> {
  const count = Math.min(hosts.length, 2 * availableParallelism());
  const shares = Array.from({ length: count }, (_, worker) => hosts.filter((_host, index) => index % count === worker));
  const list = await allowedProcessors();
  const processors = listedProcessors(list);
  const scratch = join(layout.mountPoints, 'stage');
  for (let attempt = 1; ; attempt += 1) {
    const processor = numbersByProcessor() ? await lowestProcessor(scratch, processors, options) : list;
    const env = { ...options.env, PROCESSOR: processor, PROCESSORS: list };
    await Promise.all(
      shares.map((share) =>
        requireCommand(['nsenter', `--mount=${template}`, 'sh', join(scripts, 'hosts.sh'), ...share], {
          ...options,
          env,
        }),
      ),
    );
    if (!numbersByProcessor()) return;
    // The processor may have gone on to a new batch of numbers meanwhile, which the last hosts would show.
    const last = shares.map((share) => share.at(-1)).filter((host) => host !== undefined);
    const usable = await Promise.all(
      last.map((host) => canPin(enterHost(layout, host), join(layout.mountPoints, 'stage'), processors, options)),
    );
    if (!usable.includes(false)) return;
    if (attempt === 3) {
      throw new ClusterError(
        "Cannot make the hosts' namespaces",
        'the kernel gave them numbers above those of later namespaces, three times',
        'Try again when fewer programs make namespaces.',
      );
    }
    await requireCommand(
      ['umount', '--no-mtab', ...hosts.flatMap((host) => [layout.mountNamespace(host), layout.utsNamespace(host)])],
      options,
    );
  }
}

/** The command that runs what follows it as root in a host. */
export function enterHost(layout: Layout, host: string): string[] {
  return ['nsenter', `--mount=${layout.mountNamespace(host)}`, `--uts=${layout.utsNamespace(host)}`];
}

/** Identities of a process's or a pin's namespaces; undefined when it has gone. */
export async function processNamespaces(pid: number): Promise<{ mount: string; uts: string } | undefined> {
  try {
    const [mount, uts] = await Promise.all([
      readlink(`/proc/${String(pid)}/ns/mnt`),
      readlink(`/proc/${String(pid)}/ns/uts`),
    ]);
    return { mount, uts };
  } catch {
    return undefined;
  }
}

/** Identity of a pinned namespace as in /proc/PID/ns, or undefined when nothing is pinned there. */
export async function pinnedNamespace(pin: string, kind: 'mnt' | 'uts'): Promise<string | undefined> {
  try {
    const [file, parent] = await Promise.all([stat(pin), stat(dirname(pin))]);
    return file.dev === parent.dev ? undefined : `${kind}:[${String(file.ino)}]`;
  } catch {
    return undefined;
  }
}
