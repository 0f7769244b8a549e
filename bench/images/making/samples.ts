/** Taking the samples: in each round every way, each with a new disk. */
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import type { Progress } from '../../bench.js';
import { settle } from '../../quiet.js';
import { timed } from '../../program.js';
import { MemoryWatch, processorTime } from './process-tree.js';
import { withScratchDisk, type FileSystem, type ScratchDisk } from '../scratch-disk.js';
import { tags, type Tag } from './source-image.js';
import type { Phases, Place, Session, Way } from './ways.js';

export interface Sample {
  readonly way: string;
  readonly tag: Tag;
  readonly round: number;
  /** Milliseconds until the squashfs file was ready. */
  readonly wall: number;
  /** Milliseconds of it, by program. */
  readonly phases: Phases;
  /** Milliseconds of processor time of all processes. */
  readonly processor: number;
  /** Bytes that all processes used at a time, at most. */
  readonly memory: number;
  /** Bytes written to the disk, also those written after the end, from the page cache. */
  readonly written: number;
  /** Bytes more on the disk than before. */
  readonly kept: number;
  /** Bytes of the squashfs file. */
  readonly image: number;
  /** False when other programs kept the processors busy until then. */
  readonly quiet: boolean;
}

export interface SamplePlan extends Pick<Place, 'repository' | 'compression' | 'processors' | 'signal'> {
  readonly rounds: number;
  readonly fileSystem: FileSystem;
}

export async function takeSamples(
  ways: readonly Way[],
  plan: SamplePlan,
  base: string,
  say: Progress,
): Promise<readonly Sample[]> {
  const samples: Sample[] = [];
  await mkdir(base, { recursive: true });
  for (let round = 0; round < plan.rounds; round += 1) {
    for (const way of round % 2 === 0 ? ways : [...ways].reverse()) {
      say(`making, round ${round + 1} of ${plan.rounds}: ${way.title}`);
      await withScratchDisk(base, plan.fileSystem, async (disk) => {
        const session = await way.begin({ ...plan, directory: join(disk.directory, 'work') });
        try {
          for (const tag of Object.values(tags)) {
            plan.signal.throwIfAborted();
            samples.push({ way: way.id, tag, round, ...(await measure(session, tag, disk)) });
          }
        } finally {
          await session.end();
        }
      });
    }
  }
  return samples;
}

async function measure(session: Session, tag: Tag, disk: ScratchDisk): Promise<Omit<Sample, 'way' | 'tag' | 'round'>> {
  await session.tidy();
  const before = { written: await disk.written(), used: await disk.used() };
  const quiet = await settle();
  const processorBefore = await processorSum(session);
  const watch = await MemoryWatch.begin(session.daemons);
  let phases: Phases = {};
  let wall = Number.NaN;
  let memory = Number.NaN;
  try {
    wall = await timed(async () => {
      phases = await session.pull(tag);
    });
  } finally {
    memory = await watch.end();
  }
  const processor = (await processorSum(session)) - processorBefore;
  const written = (await disk.written()) - before.written;
  await session.tidy();
  await disk.written();
  const kept = (await disk.used()) - before.used;
  return { wall, phases, processor, memory, written, kept, image: await session.imageSize(tag), quiet };
}

/** Of the programs that have run so far and the daemons with theirs, in milliseconds. */
async function processorSum({ daemons }: Session): Promise<number> {
  const times = await Promise.all([processorTime('self', false), ...daemons.map((pid) => processorTime(pid, true))]);
  return times.reduce((sum, each) => sum + each, 0);
}
