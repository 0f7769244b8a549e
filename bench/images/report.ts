/** The results of the images bench for people. */
import { machineLines, type Machine } from '../machine.js';
import { asReport, type Table } from '../table.js';
import { targetTable, type Target } from '../target.js';
import type { Making, MakingPlan } from './making/bench.js';
import { makingNotes, makingTables } from './making/report.js';
import { makingTargets } from './making/summary.js';
import type { Reading, ReadingPlan } from './reading/bench.js';
import { readingNotes, readingTables } from './reading/report.js';

export interface Results {
  readonly started: string;
  readonly machine: Machine;
  readonly readingPlan?: ReadingPlan;
  readonly reading?: Reading;
  readonly makingPlan?: MakingPlan;
  readonly making?: Making;
  readonly targets: readonly Target[];
}

export function report({ machine, readingPlan, reading, makingPlan, making }: Results, markdown: boolean): string {
  const parts: (string | Table)[] = [machineLines(machine)];
  const samples = [...(reading?.samples ?? []), ...(making?.samples ?? [])];
  if (making !== undefined && makingPlan !== undefined) {
    parts.push(targetTable(makingTargets(making)), ...makingTables(making), makingNotes(making, makingPlan));
  }
  if (reading !== undefined && readingPlan !== undefined) {
    parts.push(...readingTables(reading), readingNotes(readingPlan));
  }
  const busy = samples.filter(({ quiet }) => !quiet).length;
  parts.push(
    busy === 0
      ? 'The machine was quiet before every sample.'
      : `Other programs kept the machine busy before ${busy} of ${samples.length} samples: run it again when it is quiet.`,
  );
  return asReport(parts, markdown);
}
