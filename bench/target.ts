/** What Berth promises, and whether a run kept it. */
import { inWords } from './spread.js';
import type { Table } from './table.js';

export interface Target {
  readonly name: string;
  readonly limit: number;
  /** Whether the limit is the most or the least that is allowed. */
  readonly bound: 'at most' | 'at least';
  readonly unit: string;
  /** NaN when this run did not measure it. */
  readonly measured: number;
  /** How the values scatter, where there are several. */
  readonly deviation?: number;
  /** Undefined when this run did not measure it. */
  readonly met: boolean | undefined;
}

interface Measured {
  readonly median: number;
  readonly deviation?: number;
}

const unmeasured: Measured = { median: Number.NaN };

/** A promise that something takes no more than `limit`. */
export function atMost(name: string, limit: number, unit: string, value: Measured = unmeasured): Target {
  return target({ name, limit, bound: 'at most', unit }, value, value.median <= limit);
}

/** A promise that something reaches `limit`. */
export function atLeast(name: string, limit: number, unit: string, value: Measured = unmeasured): Target {
  return target({ name, limit, bound: 'at least', unit }, value, value.median >= limit);
}

function target(
  promise: Pick<Target, 'name' | 'limit' | 'bound' | 'unit'>,
  { median: measured, deviation }: Measured,
  met: boolean,
): Target {
  return {
    ...promise,
    measured,
    met: Number.isNaN(measured) ? undefined : met,
    ...(deviation === undefined ? {} : { deviation }),
  };
}

export function targetTable(targets: readonly Target[]): Table {
  return {
    heading: 'Targets',
    columns: ['', 'target', 'measured', 'met'],
    rows: targets.map(({ name, limit, bound, unit, measured, deviation, met }) => [
      name,
      `${bound} ${limit} ${unit}`,
      met === undefined ? 'not measured' : `${inWords({ median: measured, deviation: deviation ?? 0 }, 2)} ${unit}`,
      met === undefined ? '-' : met ? 'yes' : 'no',
    ]),
  };
}
