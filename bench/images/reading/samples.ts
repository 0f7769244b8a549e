/** Taking the samples: in each round every form, so that whatever slows the machine down slows all of them. */
import type { Progress } from '../../bench.js';
import { Disk, dropCaches } from '../../disk.js';
import { inTurn } from '../../in-turn.js';
import { settle } from '../../quiet.js';
import { timed } from '../../program.js';
import { withMount, type MadeForm } from './forms.js';
import type { Workload } from './workloads.js';

export interface Sample {
  readonly form: string;
  readonly workload: string;
  readonly round: number;
  /** Milliseconds with nothing in the page cache, and once more right after that. */
  readonly cold: number;
  readonly warm: number;
  /** Bytes that were read from the disk when nothing was cached; NaN where that cannot be told. */
  readonly diskRead: number;
  /** False when other programs kept the processors busy until then. */
  readonly quiet: boolean;
}

/** Mounts anew for each workload: FUSE and erofs keep what drop_caches does not drop. */
export async function takeSamples(
  forms: readonly MadeForm[],
  workloads: readonly Workload[],
  rounds: number,
  point: string,
  signal: AbortSignal,
  say: Progress,
): Promise<readonly Sample[]> {
  const samples: Sample[] = [];
  for (let round = 0; round < rounds; round += 1) {
    say(`reading, round ${round + 1} of ${rounds}`);
    for (const form of inTurn(forms, round)) {
      for (const workload of workloads) {
        signal.throwIfAborted();
        const sample = await withMount(form, point, (root) => coldAndWarm(workload, root, form.path, signal));
        samples.push({ form: form.id, workload: workload.id, round, ...sample });
      }
    }
  }
  return samples;
}

async function coldAndWarm(
  workload: Workload,
  root: string,
  path: string,
  signal: AbortSignal,
): Promise<Pick<Sample, 'cold' | 'warm' | 'diskRead' | 'quiet'>> {
  const disk = await Disk.beneath(path);
  const bytes = async (): Promise<number> => (await disk?.traffic())?.read ?? Number.NaN;
  await dropCaches();
  const quiet = await settle();
  const before = await bytes();
  const cold = await timed(() => workload.run(root, signal));
  const diskRead = (await bytes()) - before;
  const warm = await timed(() => workload.run(root, signal));
  return { cold, warm, diskRead, quiet };
}
