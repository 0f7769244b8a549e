/** Finding and ending the processes of one cluster, and of no other. */
import { readdir, readFile } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import { ClusterError } from './errors.js';
import type { Layout } from './layout.js';
import { markerVariable, mountSource, pinnedNamespace, processNamespaces } from './namespaces.js';

/** The parent of a process and the states that matter here; undefined when it has gone or is a zombie. */
async function processParent(pid: number): Promise<number | undefined> {
  try {
    const stat = await readFile(`/proc/${String(pid)}/stat`, 'utf8');
    // The name in parentheses may itself hold spaces and parentheses.
    const [state = '', parent = ''] = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    return state === 'Z' || state === 'X' ? undefined : Number(parent);
  } catch {
    return undefined;
  }
}

async function hasMarker(pid: number, marker: string): Promise<boolean> {
  try {
    const environment = await readFile(`/proc/${String(pid)}/environ`, 'utf8');
    return environment.split('\0').includes(marker);
  } catch {
    return false;
  }
}

/** Answers for each mount namespace, by one of its processes, whether it has a file system of the cluster. */
function clusterMounts(layout: Layout): (pid: number, namespace: string) => Promise<boolean> {
  const source = ` ${mountSource(layout)} `;
  const known = new Map<string, Promise<boolean>>();
  return (pid, namespace) => {
    let answer = known.get(namespace);
    if (answer === undefined) {
      answer = readFile(`/proc/${String(pid)}/mountinfo`, 'utf8').then(
        (mounts) => mounts.includes(source),
        () => false,
      );
      known.set(namespace, answer);
    }
    return answer;
  };
}

/** Namespaces pinned by the cluster, as far as they are still there. */
async function pinnedNamespaces(layout: Layout): Promise<ReadonlySet<string>> {
  let hosts: string[];
  try {
    hosts = await readdir(layout.namespaces);
  } catch {
    return new Set();
  }
  const pins = await Promise.all(
    hosts.flatMap((host) => [
      pinnedNamespace(layout.mountNamespace(host), 'mnt'),
      pinnedNamespace(layout.utsNamespace(host), 'uts'),
    ]),
  );
  return new Set(pins.filter((pin) => pin !== undefined));
}

/**
 * The cluster's processes: those in a host's mount or UTS namespace (containers have a mount namespace of their own,
 * but the host's UTS namespace), those in another namespace with a file system of the cluster, those that carry the
 * cluster's marker, and the descendants of all of them.
 * This process and its ancestors are never among them.
 */
export async function clusterProcesses(layout: Layout): Promise<number[]> {
  const pinned = await pinnedNamespaces(layout);
  const marker = `${markerVariable}=${layout.dir}`;
  const hasClusterMount = clusterMounts(layout);
  const parents = new Map<number, number>();
  const found = new Set<number>();
  const pids = (await readdir('/proc')).filter((name) => /^\d+$/.test(name)).map(Number);
  await Promise.all(
    pids.map(async (pid) => {
      const parent = await processParent(pid);
      if (parent === undefined) return;
      parents.set(pid, parent);
      const namespaces = await processNamespaces(pid);
      const isInside =
        namespaces !== undefined &&
        (pinned.has(namespaces.mount) || pinned.has(namespaces.uts) || (await hasClusterMount(pid, namespaces.mount)));
      if (isInside || (await hasMarker(pid, marker))) found.add(pid);
    }),
  );
  const isDescendant = (pid: number): boolean => {
    for (let at: number | undefined = pid; at !== undefined; at = parents.get(at)) if (found.has(at)) return true;
    return false;
  };
  const own = new Set<number>();
  for (let at: number | undefined = process.pid; at !== undefined; at = parents.get(at)) own.add(at);
  return Array.from(parents.keys()).filter((pid) => !own.has(pid) && isDescendant(pid));
}

/** Sends a signal to a process that may have gone already. */
export function signalProcess(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(pid, signal);
  } catch {
    // It has ended meanwhile, which is what is wanted.
  }
}

const killLimit = 20_000;

/**
 * Ends all processes of a cluster with SIGKILL.
 * @throws ClusterError when some are still there after 20 s
 */
export async function killClusterProcesses(layout: Layout): Promise<void> {
  const deadline = Date.now() + killLimit;
  for (let pause = 5; ; pause = Math.min(2 * pause, 200)) {
    // Again and again, because what is being killed may start more.
    const pids = await clusterProcesses(layout);
    if (pids.length === 0) return;
    if (Date.now() > deadline) {
      throw new ClusterError(
        `Cannot end the processes of ${layout.dir}`,
        `still running after SIGKILL: ${pids.join(', ')}`,
        'Look at them with ps; a process in state D waits for the kernel. Then take the cluster down again.',
      );
    }
    for (const pid of pids) signalProcess(pid, 'SIGKILL');
    await sleep(pause);
  }
}

/** The process id in a daemon's pid file, when that process is alive in the given host of the cluster. */
export async function daemonProcess(layout: Layout, host: string, daemon: string): Promise<number | undefined> {
  let content: string;
  try {
    content = await readFile(layout.pidFile(host, daemon), 'utf8');
  } catch {
    return undefined;
  }
  const pid = Number.parseInt(content, 10);
  if (!Number.isInteger(pid) || pid <= 0 || (await processParent(pid)) === undefined) return undefined;
  // The id may have been given to another process since.
  const [namespaces, pin] = await Promise.all([
    processNamespaces(pid),
    pinnedNamespace(layout.mountNamespace(host), 'mnt'),
  ]);
  return namespaces !== undefined && namespaces.mount === pin ? pid : undefined;
}

/** Waits until a daemon of a host has ended; false when it has not within the given milliseconds. */
export async function waitForEnd(layout: Layout, host: string, daemon: string, limit: number): Promise<boolean> {
  const deadline = Date.now() + limit;
  for (let pause = 2; Date.now() < deadline; pause = Math.min(2 * pause, 100)) {
    if ((await daemonProcess(layout, host, daemon)) === undefined) return true;
    await sleep(pause);
  }
  return false;
}
