/** What processes and all that they started use. */
import { readdir, readFile } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';

/** Milliseconds between two looks at the processes: each look takes a processor some, the more processes there are. */
const INTERVAL = 250;
/** Ticks of a second in /proc/PID/stat: the kernel's USER_HZ, which is 100 on all that Berth runs on. */
const TICKS = 100;

/** The processes themselves and all their descendants that still run. */
async function tree(roots: readonly number[]): Promise<readonly number[]> {
  const found = new Set<number>();
  const visit = async (pid: number): Promise<void> => {
    if (found.has(pid)) return;
    found.add(pid);
    for (const child of await children(pid)) await visit(child);
  };
  for (const root of roots) await visit(root);
  return [...found];
}

/** A process is the child of the thread that made it: those of all threads. */
async function children(pid: number): Promise<readonly number[]> {
  const threads = await orNone(readdir(`/proc/${pid}/task`), []);
  const lists = await Promise.all(
    threads.map((thread) => orNone(readFile(`/proc/${pid}/task/${thread}/children`, 'utf8'), '')),
  );
  return lists.flatMap((list) => list.split(' ').filter((word) => word !== '')).map(Number);
}

/** Of a process that may have ended meanwhile. */
function orNone<T>(reading: Promise<T>, none: T): Promise<T> {
  return reading.catch(() => none);
}

/** Bytes of memory in use, with what several processes share counted once: their Pss (proc_pid_smaps(5)). */
async function memory(pids: readonly number[]): Promise<number> {
  const texts = await Promise.all(pids.map((pid) => orNone(readFile(`/proc/${pid}/smaps_rollup`, 'utf8'), '')));
  return texts.reduce((sum, text) => sum + Number(/^Pss:\s+(\d+) kB$/m.exec(text)?.[1] ?? 0) * 1024, 0);
}

/**
 * Watches how much memory is used: by the given processes, those that this process starts from now on, and all their
 * descendants.
 */
export class MemoryWatch {
  #peak = 0;
  #isOver = false;
  readonly #watching: Promise<void>;

  private constructor(daemons: readonly number[], others: ReadonlySet<number>) {
    this.#watching = this.#watch(daemons, others);
  }

  static async begin(daemons: readonly number[]): Promise<MemoryWatch> {
    return new MemoryWatch(daemons, new Set(await children(process.pid)));
  }

  /** The most that was used at a time, in bytes. */
  async end(): Promise<number> {
    this.#isOver = true;
    await this.#watching;
    return this.#peak;
  }

  async #watch(daemons: readonly number[], others: ReadonlySet<number>): Promise<void> {
    while (!this.#isOver) {
      const started = (await children(process.pid)).filter((pid) => !others.has(pid));
      this.#peak = Math.max(this.#peak, await memory(await tree([...daemons, ...started])));
      await sleep(INTERVAL);
    }
  }
}

/** Milliseconds of processor time of a process's ended and waited-for children, and with `itself` of its own. */
export async function processorTime(pid: number | 'self', itself: boolean): Promise<number> {
  const text = await readFile(`/proc/${pid}/stat`, 'utf8');
  // The name, in parentheses, may have anything in it; utime is the 14th field (proc_pid_stat(5)).
  const fields = text
    .slice(text.lastIndexOf(')') + 2)
    .split(' ')
    .map(Number);
  const [utime = 0, stime = 0, cutime = 0, cstime = 0] = fields.slice(11, 15);
  return ((cutime + cstime + (itself ? utime + stime : 0)) * 1000) / TICKS;
}
