/** What Berth promises of launches. */
import { spread } from '../spread.js';
import { atMost, type Target } from '../target.js';
import type { Build } from '../berthd.js';
import type { Idle } from '../daemon-cost.js';
import type { Row } from './summary.js';

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
    atMost('warm step over bare srun, 32 ranks', 1.05, '×', row('berth-warm', 32)?.ratio),
    atMost('cold job adds to bare srun, 1 rank', 15, 'ms', row('berth-cold', 1)?.added),
    atMost('berthd builds a container', 5, 'ms', built),
    atMost('berthd wakes up when idle', 1, 'per minute', { median: perMinute }),
    atMost("berthd's private memory", 12, 'MiB', { median: idle?.privateMemory ?? Number.NaN }),
  ];
}
