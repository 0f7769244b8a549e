/** What was measured, as medians, and compared within each round. */
import { spread, type Spread } from '../spread.js';
import type { Values } from './part.js';

export interface Sample {
  readonly group: string;
  readonly variant: string;
  readonly round: number;
  /** False when other programs kept the processors busy until then. */
  readonly quiet: boolean;
  readonly values: Values;
}

export type Samples = readonly Sample[];

/** All values of a variant. Those that say nothing of it are left out. */
export function spreadOf(samples: Samples, group: string, variant: string, value: string): Spread {
  return spread([...byRound(samples, group, variant, value).values()]);
}

/** The values of a variant, each compared with the other variant's of the same round. */
export function compared(
  samples: Samples,
  group: string,
  variant: string,
  against: string,
  value: string,
  as: 'ratio' | 'difference',
): Spread {
  const others = byRound(samples, group, against, value);
  const both = [...byRound(samples, group, variant, value)].flatMap(([round, own]) => {
    const other = others.get(round);
    return other === undefined ? [] : [as === 'ratio' ? own / other : own - other];
  });
  return spread(both);
}

function byRound(samples: Samples, group: string, variant: string, value: string): ReadonlyMap<number, number> {
  return new Map(
    samples.flatMap((sample) => {
      const number = sample.values[value];
      return sample.group === group && sample.variant === variant && number !== undefined
        ? [[sample.round, number]]
        : [];
    }),
  );
}
