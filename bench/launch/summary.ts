/** What the samples say: medians, scatter, and comparisons within the same round. */
import { spread, type Spread } from '../spread.js';
import type { Case } from './cases.js';
import type { Sample, Samples } from './rounds.js';

export interface Row {
  readonly case: string;
  readonly title: string;
  readonly baseline: string;
  readonly ranks: number;
  readonly samples: number;
  readonly failures: number;
  /** Milliseconds. */
  readonly wall: Spread;
  /** Milliseconds. */
  readonly lastStart: Spread;
  /** Milliseconds of processor time that berthd used for a launch. */
  readonly daemon: Spread;
  /** Wall time over the baseline's of the same round; nothing for a baseline. */
  readonly ratio?: Spread;
  /** Milliseconds of wall time more than the baseline of the same round; nothing for a baseline. */
  readonly added?: Spread;
}

export function summarize(cases: readonly Case[], ranks: readonly number[], samples: Samples): readonly Row[] {
  return ranks.flatMap((count) => cases.map((of) => summary(of, count, samples)));
}

function summary(of: Case, ranks: number, { taken, failures }: Samples): Row {
  const isHere = (id: string) => (each: { readonly case: string; readonly ranks: number }) =>
    each.case === id && each.ranks === ranks;
  const own = taken.filter(isHere(of.id));
  const baseline = new Map(taken.filter(isHere(of.baseline)).map(({ round, wall }) => [round, wall]));
  const compared = (compare: (wall: number, bare: number) => number): Spread =>
    spread(
      own.flatMap(({ round, wall }: Sample) => {
        const bare = baseline.get(round);
        return bare === undefined ? [] : [compare(wall, bare)];
      }),
    );
  return {
    case: of.id,
    title: of.title,
    baseline: of.baseline,
    ranks,
    samples: own.length,
    failures: failures.filter(isHere(of.id)).length,
    wall: spread(own.map(({ wall }) => wall)),
    lastStart: spread(own.map(({ lastStart }) => lastStart)),
    daemon: spread(own.map(({ daemon }) => daemon)),
    ...(of.baseline === of.id
      ? {}
      : { ratio: compared((wall, bare) => wall / bare), added: compared((wall, bare) => wall - bare) }),
  };
}
