/** What the samples about making say. */
import { spread, type Spread } from '../../spread.js';
import { atLeast, atMost, type Target } from '../../target.js';
import { spreadIn } from '../units.js';
import type { Making } from './bench.js';
import { berthWay } from './berth.js';
import { peersWay } from './peers.js';
import type { Sample } from './samples.js';
import { tags, type Tag } from './source-image.js';

export function samplesOf({ samples }: Making, way: string, tag: Tag): readonly Sample[] {
  return samples.filter((sample) => sample.way === way && sample.tag === tag);
}

/** How many times as fast as the peers, compared within each round. */
export function speedUp(making: Making, way: string, tag: Tag): Spread {
  const peers = new Map(samplesOf(making, peersWay.id, tag).map(({ round, wall }) => [round, wall]));
  return spread(samplesOf(making, way, tag).map(({ round, wall }) => (peers.get(round) ?? Number.NaN) / wall));
}

/** What Berth promises of pulls. */
export function makingTargets(making: Making): readonly Target[] {
  const peaks = new Map<number, number>();
  for (const { way, round, memory } of making.samples) {
    if (way === berthWay.id) peaks.set(round, Math.max(memory, peaks.get(round) ?? 0));
  }
  return [
    atLeast(
      'first pull, times as fast as skopeo, umoci, mksquashfs',
      1.5,
      '×',
      speedUp(making, berthWay.id, tags.first),
    ),
    atMost('memory of all processes of a pull', 256, 'MiB', spreadIn(2 ** 20, [...peaks.values()])),
  ];
}
