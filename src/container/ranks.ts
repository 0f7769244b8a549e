import { readdir, readFile, readlink } from 'node:fs/promises';

/** Who is in a mount namespace. */
export interface Occupants {
  readonly pids: readonly number[];
  /** Those that slurmstepd started. */
  readonly ranks: number;
}

let looking: Promise<Map<number, Occupants>> | undefined;

/**
 * Who is in each of these mount namespaces, by inode; the empty ones are left out. Looks at every process of the node:
 * for a person who asks. Those who ask meanwhile share one look, so that asking often costs the node no more.
 */
export async function occupants(namespaces: readonly number[]): Promise<Map<number, Occupants>> {
  looking ??= look().finally(() => {
    looking = undefined;
  });
  const all = await looking;
  return new Map([...all].filter(([inode]) => namespaces.includes(inode)));
}

async function look(): Promise<Map<number, Occupants>> {
  const found = new Map<number, Occupants>();
  const own = await mountNamespace('self');
  const pids = (await readdir('/proc')).filter((name) => /^\d+$/.test(name));
  await Promise.all(
    pids.map(async (pid) => {
      const inode = await mountNamespace(pid);
      if (inode === undefined || inode === own) return;
      const isRank = (await parentName(pid)).startsWith('slurmstepd');
      const { pids, ranks } = found.get(inode) ?? { pids: [], ranks: 0 };
      found.set(inode, { pids: [...pids, Number(pid)], ranks: ranks + (isRank ? 1 : 0) });
    }),
  );
  return found;
}

async function mountNamespace(pid: string): Promise<number | undefined> {
  const link = await readlink(`/proc/${pid}/ns/mnt`).catch(() => '');
  const inode = /^mnt:\[(\d+)\]$/.exec(link)?.[1];
  return inode === undefined ? undefined : Number(inode);
}

/** The name of a process' parent; empty when either is gone. */
async function parentName(pid: string): Promise<string> {
  const status = await readFile(`/proc/${pid}/status`, 'utf8').catch(() => '');
  const parent = /^PPid:\s*(\d+)$/m.exec(status)?.[1] ?? '0';
  return readFile(`/proc/${parent}/comm`, 'utf8').catch(() => '');
}
