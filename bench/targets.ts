/** What Berth promises, and whether this run kept it. */
import type { Build, Idle } from './daemon-cost.js';
import { spread, type Row } from './summary.js';

export interface Target {
  readonly name: string;
  readonly limit: number;
  readonly unit: string;
  /** NaN when this run did not measure it. */
  readonly measured: number;
  /** How the values scatter, where there are several. */
  readonly deviation?: number;
  /** Undefined when this run did not measure it. */
  readonly met: boolean | undefined;
}

export function checkTargets(
  rows: readonly Row[],
  builds: readonly Build[],
  idle: Idle | undefined,
): readonly Target[] {
  const row = (id: string, ranks: number): Row | undefined =>
    rows.find((each) => each.case === id && each.ranks === ranks && each.samples > 0);
  const built = spread(builds.map(({ total }) => total));
  const perMinute = idle === undefined ? Number.NaN : (idle.wakeUps * 60) / idle.seconds;
  return [
    target('warm step over bare srun, 32 ranks', 1.05, '×', row('berth-warm', 32)?.ratio),
    target('cold job adds to bare srun, 1 rank', 15, 'ms', row('berth-cold', 1)?.added),
    target('berthd builds a container', 5, 'ms', built),
    target('berthd wakes up when idle', 1, 'per minute', { median: perMinute }),
    target("berthd's private memory", 12, 'MiB', { median: idle?.privateMemory ?? Number.NaN }),
  ];
}

function target(
  name: string,
  limit: number,
  unit: string,
  value: { readonly median: number; readonly deviation?: number } = { median: Number.NaN },
): Target {
  const { median: measured, deviation } = value;
  const met = Number.isNaN(measured) ? undefined : measured <= limit;
  return { name, limit, unit, measured, met, ...(deviation === undefined ? {} : { deviation }) };
}
