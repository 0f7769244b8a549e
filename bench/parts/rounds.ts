/** Taking the samples: in each round every variant, so that whatever slows the machine down slows all of them. */
import type { Progress } from '../bench.js';
import { inTurn } from '../in-turn.js';
import { settle } from '../quiet.js';
import type { Variant } from './part.js';
import type { Sample, Samples } from './samples.js';

/** @param rounds of which the first warms up and is not counted */
export async function takeSamples(
  name: string,
  variants: readonly Variant[],
  rounds: number,
  signal: AbortSignal,
  say: Progress,
): Promise<Samples> {
  const samples: Sample[] = [];
  for (let round = 0; round < rounds; round += 1) {
    say(round === 0 ? `${name}: warm-up round` : `${name}: round ${round} of ${rounds - 1}`);
    for (const { group, id, before, measure } of inTurn(variants, round)) {
      signal.throwIfAborted();
      await before?.();
      const quiet = await settle();
      const values = await measure();
      if (round > 0) samples.push({ group, variant: id, round, quiet, values });
    }
  }
  return samples;
}
