/** The tables about making. */
import { inWords, spread } from '../../spread.js';
import type { Table } from '../../table.js';
import { mebibytes, mebibytesInWords, secondsInWords } from '../units.js';
import type { Making, MakingPlan } from './bench.js';
import { peersWay } from './peers.js';
import type { Sample } from './samples.js';
import { samplesOf, speedUp } from './summary.js';
import { tags, type Tag } from './source-image.js';

const HEADINGS: Readonly<Record<Tag, string>> = {
  first: 'The first pull',
  'small-change': 'Pulled again, with a small layer on top that is new',
  'large-change': 'Pulled again, with a large layer on top that is new',
};

export function makingTables(making: Making): readonly Table[] {
  return [...Object.values(tags).map((tag) => tagTable(making, tag)), phaseTable(making)];
}

function tagTable(making: Making, tag: Tag): Table {
  return {
    heading: HEADINGS[tag],
    columns: ['', 'wall s', '× as fast', 'processor s', 'memory MiB', 'written MiB', 'per byte of image', 'kept MiB'],
    rows: making.ways.flatMap(({ id, title }) => {
      const samples = samplesOf(making, id, tag);
      if (samples.length === 0) return [];
      const of = (value: (sample: Sample) => number): readonly number[] => samples.map(value);
      return [
        [
          title,
          secondsInWords(of(({ wall }) => wall)),
          id === peersWay.id ? '' : inWords(speedUp(making, id, tag), 2),
          secondsInWords(of(({ processor }) => processor)),
          mebibytesInWords(of(({ memory }) => memory)),
          mebibytesInWords(of(({ written }) => written)),
          inWords(spread(of(({ written, image }) => written / image)), 2),
          mebibytesInWords(of(({ kept }) => kept)),
        ],
      ];
    }),
  };
}

function phaseTable(making: Making): Table {
  const all = Object.values(tags);
  return {
    heading: 'Programs that run one after the other, seconds',
    columns: ['', ...all],
    rows: making.ways.flatMap(({ id }) => {
      const names = new Set(
        all.flatMap((tag) => samplesOf(making, id, tag).flatMap(({ phases }) => Object.keys(phases))),
      );
      if (names.size < 2) return [];
      return [...names].map((name) => [
        `${id}: ${name}`,
        ...all.map((tag) => secondsInWords(samplesOf(making, id, tag).map(({ phases }) => phases[name] ?? Number.NaN))),
      ]);
    }),
  };
}

export function makingNotes(
  { layers, samples, fileSystem }: Making,
  { rounds, compression, processors }: MakingPlan,
): string {
  const sizes = (tag: Tag): readonly string[] => layers[tag].map((size) => mebibytes(size).toFixed(1));
  const top = (tag: Tag): string => sizes(tag).at(-1) ?? '-';
  const image = samples.find(({ tag }) => tag === tags.first)?.image ?? Number.NaN;
  return [
    `Medians ± median absolute deviation of ${rounds} rounds. "× as fast" compares with ${peersWay.title} of the same round.`,
    `zstd ${compression.level}, blocks of ${compression.blockSize / 1024} KiB, ${processors} processors, ${fileSystem}.`,
    `Compressed layers, MiB: ${sizes(tags.first).join(', ')}; the squashfs of them: ${mebibytes(image).toFixed(0)}.`,
    `Layers on top that are new, MiB: ${top('small-change')} (small), ${top('large-change')} (large).`,
  ].join('\n');
}
