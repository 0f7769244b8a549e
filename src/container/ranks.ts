import { readdir, readlink } from 'node:fs/promises';

/** How many processes are in each mount namespace, by its inode. Looks at every process: for a person who asks. */
export async function processesByMountNamespace(): Promise<Map<number, number>> {
  const counts = new Map<number, number>();
  const pids = (await readdir('/proc')).filter((name) => /^\d+$/.test(name));
  await Promise.all(
    pids.map(async (pid) => {
      const link = await readlink(`/proc/${pid}/ns/mnt`).catch(() => '');
      const inode = Number(/^mnt:\[(\d+)\]$/.exec(link)?.[1]);
      if (Number.isInteger(inode)) counts.set(inode, (counts.get(inode) ?? 0) + 1);
    }),
  );
  return counts;
}
