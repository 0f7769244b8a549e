/** What berthd costs when everything is on and nobody looks. */
import { idleCost } from '../../daemon-cost.js';
import type { Part, Prepared } from '../../parts/part.js';
import { spreadOf } from '../../parts/samples.js';
import type { Stage } from '../../parts/stage.js';
import { atMost } from '../../target.js';

const GROUP = 'idle';
const BERTHD = 'berthd';

/** Seconds from what was before until the count begins. */
const SETTLING = 60;
const SECONDS = 60;

export const idlePart: Part = {
  name: 'idle',
  subject: 'berthd with everything on and nobody looking',
  heading: 'berthd, everything on, nobody looking',
  columns: [
    { title: 'context switches a minute', value: 'wakeUps', digits: 0 },
    { title: 'private MiB', value: 'privateMemory', digits: 1 },
    { title: 'resident MiB', value: 'residentMemory', digits: 1 },
  ],
  rounds: 2,
  prepare,
  targets: (samples) => [
    atMost('berthd wakes up, everything on', 2, 'per minute', spreadOf(samples, GROUP, BERTHD, 'wakeUps')),
    atMost("berthd's private memory, everything on", 15, 'MiB', spreadOf(samples, GROUP, BERTHD, 'privateMemory')),
  ],
};

function prepare({ cluster, signal }: Stage): Promise<Prepared> {
  const measure = async () => {
    const { wakeUps, seconds, privateMemory, residentMemory } = await idleCost(cluster, SETTLING, SECONDS, signal);
    return { wakeUps: (wakeUps * 60) / seconds, privateMemory, residentMemory };
  };
  return Promise.resolve({
    variants: [{ group: GROUP, id: BERTHD, title: 'berthd', measure }],
    notes: [`Idle: ${SECONDS} s, which begin ${SETTLING} s after what was before.`],
  });
}
