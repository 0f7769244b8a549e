/** The tables about reading. */
import { inWords, spread } from '../../spread.js';
import type { Table } from '../../table.js';
import { mebibytes, mebibytesInWords } from '../units.js';
import type { Reading, ReadingPlan } from './bench.js';
import type { Sample } from './samples.js';

export function readingTables(reading: Reading): readonly Table[] {
  return [
    timeTable(reading, 'cold', 'Reading with cold caches, milliseconds'),
    timeTable(reading, 'warm', 'Reading with warm caches, milliseconds'),
    diskTable(reading),
    ...(reading.levels.length === 0 ? [] : [levelTable(reading)]),
  ];
}

function timeTable({ forms, workloads, samples }: Reading, state: 'cold' | 'warm', heading: string): Table {
  return {
    heading,
    columns: ['', ...workloads.map(({ title }) => title)],
    rows: forms.map(({ id, title }) => [
      title,
      ...workloads.map(({ id: workload }) =>
        inWords(spread(of(samples, id, workload).map((sample) => sample[state])), 0),
      ),
    ]),
  };
}

function diskTable({ forms, workloads, samples }: Reading): Table {
  return {
    heading: 'Size, and what is read from the disk with cold caches, MiB',
    columns: ['', 'size', 'made in s', ...workloads.map(({ title }) => title)],
    rows: forms.map(({ id, title, size, making }) => [
      title,
      mebibytes(size).toFixed(1),
      making === undefined ? '' : (making / 1000).toFixed(1),
      ...workloads.map(({ id: workload }) =>
        mebibytesInWords(
          of(samples, id, workload).map(({ diskRead }) => diskRead),
          1,
        ),
      ),
    ]),
  };
}

function levelTable({ levels }: Reading): Table {
  const least = Math.min(...levels.map(({ size }) => size));
  return {
    heading: 'Levels of zstd, blocks of 128 KiB',
    columns: ['', 'MiB', '× the smallest', 'made in s'],
    rows: levels.map(({ level, size, making }) => [
      `zstd ${level}`,
      mebibytes(size).toFixed(1),
      (size / least).toFixed(3),
      (making / 1000).toFixed(1),
    ]),
  };
}

function of(samples: readonly Sample[], form: string, workload: string): readonly Sample[] {
  return samples.filter((sample) => sample.form === form && sample.workload === workload);
}

export function readingNotes({ rounds, processes }: ReadingPlan): string {
  return (
    `Medians ± median absolute deviation of ${rounds} rounds; images were made once, with all processors.\n` +
    `"Imports" are ${processes} processes at once that import numpy and mpi4py from the image.`
  );
}
