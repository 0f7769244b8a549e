/** Values taken several times, as one number and how far it can be trusted. */
import { median, medianAbsoluteDeviation } from '../scripts/library/statistics.js';

/** A median and how far the values scatter around it. */
export interface Spread {
  readonly median: number;
  /** Median absolute deviation. */
  readonly deviation: number;
}

export function spread(values: readonly number[]): Spread {
  return { median: median(values), deviation: medianAbsoluteDeviation(values) };
}

/** For people, with so many digits behind the point; "-" when there were no values. */
export function inWords({ median: middle, deviation }: Spread, digits: number): string {
  if (Number.isNaN(middle)) return '-';
  return deviation === 0 ? middle.toFixed(digits) : `${middle.toFixed(digits)} ± ${deviation.toFixed(digits)}`;
}
