/** Waiting for the machine to be quiet before something is timed. */
import { readFile } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';

/** Milliseconds over which the processors are watched: five of the kernel's ticks. */
const WINDOW = 50;
/** Share of the processors' time that has to be idle. */
const QUIET = 0.8;
/** Milliseconds after which a sample is taken all the same. */
const PATIENCE = 500;

interface ProcessorTime {
  readonly idle: number;
  readonly all: number;
}

/** Of all processors together since the machine started, in ticks (proc_stat(5)). */
async function processorTime(): Promise<ProcessorTime> {
  const [line = ''] = (await readFile('/proc/stat', 'utf8')).split('\n');
  const ticks = line.split(/\s+/).slice(1, 9).map(Number);
  const [, , , idle = 0, iowait = 0] = ticks;
  return { idle: idle + iowait, all: ticks.reduce((sum, each) => sum + each, 0) };
}

/**
 * Waits until what the last launch left behind, slurmstepd and clean-up processes, has ended.
 * @returns false when the processors were still busy after half a second
 */
export async function settle(): Promise<boolean> {
  const deadline = Date.now() + PATIENCE;
  for (let before = await processorTime(); ;) {
    await sleep(WINDOW);
    const after = await processorTime();
    if (after.idle - before.idle >= QUIET * (after.all - before.all)) return true;
    if (Date.now() >= deadline) return false;
    before = after;
  }
}
