/** The results of a bench of parts for people. */
import { machineLines, type Machine } from '../machine.js';
import { inWords, spread, type Spread } from '../spread.js';
import { asReport, type Table } from '../table.js';
import { targetTable, type Target } from '../target.js';
import type { Column, Variant } from './part.js';
import { compared, spreadOf, type Samples } from './samples.js';

/** A part that was measured. */
export interface PartResult {
  readonly name: string;
  readonly heading: string;
  readonly columns: readonly Column[];
  /** Of which the first was not counted. */
  readonly rounds: number;
  readonly variants: readonly Pick<Variant, 'group' | 'id' | 'title'>[];
  readonly notes: readonly string[];
  readonly samples: Samples;
}

export interface Results {
  readonly started: string;
  readonly machine: Machine;
  readonly parts: readonly PartResult[];
  readonly targets: readonly Target[];
}

export function report({ machine, parts, targets }: Results, markdown: boolean): string {
  const tables = parts.flatMap((part) => [partTable(part), part.notes.join('\n')]).filter((each) => each !== '');
  const promised = targets.length === 0 ? [] : [targetTable(targets)];
  return asReport([machineLines(machine), ...promised, ...tables, remarks(parts).join('\n')], markdown);
}

export function partTable({ heading, columns, variants, samples }: PartResult): Table {
  return {
    heading,
    columns: ['', ...columns.map(({ title }) => title)],
    rows: variants.map((variant) => [
      variant.title,
      ...columns.map((column) => {
        const value = cell(column, variant, variants, samples);
        return Number.isNaN(value.median) ? '' : inWords(value, column.digits);
      }),
    ]),
  };
}

type Described = PartResult['variants'][number];

/** Without a number for variants that come before what the others are compared with. */
function cell(column: Column, { group, id }: Described, variants: readonly Described[], samples: Samples): Spread {
  const { value, against, as } = column;
  if (against === undefined || as === undefined) return spreadOf(samples, group, id, value);
  const ids = variants.filter((each) => each.group === group).map((each) => each.id);
  return ids.indexOf(id) > ids.indexOf(against) ? compared(samples, group, id, against, value, as) : spread([]);
}

function remarks(parts: readonly PartResult[]): readonly string[] {
  const samples = parts.flatMap((part) => part.samples);
  const busy = samples.filter(({ quiet }) => !quiet).length;
  const rounds = parts.map(({ name, rounds }) => `${name} ${rounds - 1}`).join(', ');
  return [
    'Medians ± median absolute deviation. What is compared was measured in the same round.',
    `Rounds, after one to warm up: ${rounds}.`,
    busy === 0
      ? 'The machine was quiet before every sample.'
      : `Other programs kept the machine busy before ${busy} of ${samples.length} samples: run it again when it is quiet.`,
  ];
}
