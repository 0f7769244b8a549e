import { randomBytes } from 'node:crypto';
import { chmod, mkdir, readdir, readFile, rm } from 'node:fs/promises';
import { hostname } from 'node:os';
import { join } from 'node:path';

/**
 * Directories for what is not finished. Several hosts may share a store, and a dead one's leftovers must not be
 * mistaken for a living one's, so the name says whose it is: HOST_BOOT_PID_START_RANDOM, with the first half of the
 * kernel's boot id and the process's start time in clock ticks (proc(5)), since a pid alone comes round again.
 */
export interface Owner {
  readonly host: string;
  readonly boot: string;
  readonly pid: number;
  readonly start: string;
}

/** This process. */
export async function currentOwner(): Promise<Owner> {
  const boot = await readFile('/proc/sys/kernel/random/boot_id', 'utf8');
  return {
    // A host name has no "_" and no "/"; one that does is not allowed to spoil the format.
    host: hostname().replace(/[^A-Za-z0-9.-]/g, '-'),
    boot: boot.replaceAll('-', '').slice(0, 16),
    pid: process.pid,
    start: (await startTime(process.pid)) ?? '0',
  };
}

/** Makes a new directory for unfinished work. Others than root may pass through it, but not list it or add to it. */
export async function makeTemporary(parent: string, owner: Owner): Promise<string> {
  const { host, boot, pid, start } = owner;
  const path = join(parent, [host, boot, pid, start, randomBytes(8).toString('hex')].join('_'));
  await mkdir(path, { mode: 0o700 });
  await chmod(path, 0o711);
  return path;
}

/** Removes what processes of this host that are gone have left, and returns how much. Other hosts' is left alone. */
export async function removeStale(parent: string, self: Owner): Promise<number> {
  let removed = 0;
  for (const entry of await readdir(parent)) {
    if (!(await isStale(entry, self))) continue;
    await rm(join(parent, entry), { recursive: true, force: true });
    removed++;
  }
  return removed;
}

/** Is this the name of what a process of this host that is gone has left? */
export async function isStale(entry: string, self: Owner): Promise<boolean> {
  const owner = parse(entry);
  return owner !== undefined && isGone(owner, self);
}

/** Is this process known to be gone? Of other hosts' nothing is known. */
export async function isGone({ host, boot, pid, start }: Owner, self: Owner): Promise<boolean> {
  return host === self.host && (boot !== self.boot || (await startTime(pid)) !== start);
}

function parse(entry: string): Owner | undefined {
  const [, host, boot, pid, start] = /^([A-Za-z0-9.-]+)_([0-9a-f]{16})_(\d+)_(\d+)_[0-9a-f]{16}$/.exec(entry) ?? [];
  if (host === undefined || boot === undefined || pid === undefined || start === undefined) return undefined;
  return { host, boot, pid: Number(pid), start };
}

/**
 * Field 22 of /proc/PID/stat; undefined when there is no such process, or one that has ended and that its parent has not
 * waited for: it works on nothing any more.
 */
async function startTime(pid: number): Promise<string | undefined> {
  try {
    const stat = await readFile(`/proc/${pid}/stat`, 'utf8');
    // The second field is the command in parentheses, which may itself have spaces and parentheses.
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    return fields[0] === 'Z' ? undefined : fields[19];
  } catch {
    return undefined;
  }
}
