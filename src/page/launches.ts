import { el, svg } from './dom.js';
import { clock, duration, stepName } from './format.js';
import type { Launch } from './types.js';

/** Launches that are shown. */
export const MOST_SHOWN = 25;

/** The usual phases have colours of their own; the others share the last. */
const COLOURS = [
  'request',
  'image mount',
  'identity',
  'build',
  'spawn',
  'namespaces',
  'policy',
  'pin',
  'wait',
  'modules',
];

/** Phases that are too short to be seen are that wide, in thousandths of the whole. */
const THINNEST = 4;

type Phase = NonNullable<Launch['phases']>[number];

/** What the bars' colours stand for, of the phases that occur. */
export function legend(launches: readonly Launch[]): HTMLUListElement {
  const names = new Set(launches.flatMap(({ phases = [] }) => phases.map(({ name }) => name)));
  const known = [...names].toSorted((a, b) => colourOf(a) - colourOf(b));
  const items = known.map((name) => {
    const swatch = svg(
      'svg',
      { viewBox: '0 0 1 1', 'aria-hidden': 'true' },
      svg('rect', { width: '1', height: '1', class: colour(name) }),
    );
    return el('li', {}, swatch, name);
  });
  return el('ul', { class: 'legend', 'aria-label': 'Phases of a launch, by colour' }, ...items);
}

/** A list of launches, newest first, on one scale. */
export function launchList(launches: readonly Launch[]): HTMLUListElement {
  const scale = Math.max(1, ...launches.map(({ totalUs = 0 }) => totalUs));
  return el('ul', { class: 'launches' }, ...launches.map((launch) => launchItem(launch, scale)));
}

function launchItem(launch: Launch, scale: number): HTMLLIElement {
  const { job, step, uid, user = `uid ${uid}`, image, time, error, text, start, totalUs = 0, phases = [] } = launch;
  const what = el(
    'div',
    { class: 'what' },
    el('strong', {}, `job ${job} `),
    `step ${stepName(step)}, ${user}`,
    el('span', { title: image }, `${clock(time)} · ${image}`),
  );
  if (error !== undefined) {
    const badge = el('span', { class: 'badge fail' }, 'failed');
    const failure = el(
      'span',
      { class: 'error' },
      el('strong', {}, error),
      text === undefined ? undefined : ` ${text}`,
    );
    return el('li', {}, what, failure, badge);
  }
  const took = el(
    'span',
    { class: 'number' },
    duration(totalUs),
    el('br'),
    el('span', { class: 'quiet' }, start ?? ''),
  );
  return el('li', {}, what, bar(phases, totalUs, scale), took);
}

/** The phases, each where it was; those that ran at once, or within another, lie below each other. */
function bar(phases: readonly Phase[], totalUs: number, scale: number): SVGSVGElement {
  const lanes = inLanes(phases);
  const height = 30 / Math.max(1, lanes.length);
  const thousandth = (microseconds: number): number => (1000 * microseconds) / scale;
  const rects = lanes.flatMap((lane, index) =>
    lane.map(({ name, startUs, durationUs }) =>
      svg(
        'rect',
        {
          x: String(thousandth(startUs)),
          y: String(index * height),
          width: String(Math.max(THINNEST, thousandth(durationUs))),
          height: String(height - 1),
          class: colour(name),
        },
        svg('title', {}, `${name}: ${duration(durationUs)}`),
      ),
    ),
  );
  const words = phases.map(({ name, durationUs }) => `${name} ${duration(durationUs)}`).join(', ');
  const track = svg('rect', { width: String(Math.max(THINNEST, thousandth(totalUs))), height: '30', class: 'track' });
  const frame = { class: 'bar', viewBox: '0 0 1000 30', preserveAspectRatio: 'none', role: 'img', 'aria-label': words };
  return svg('svg', frame, track, ...rects);
}

/** Each phase in the first lane in which it overlaps none. */
export function inLanes(phases: readonly Phase[]): Phase[][] {
  const lanes: Phase[][] = [];
  for (const phase of phases.toSorted((a, b) => a.startUs - b.startUs || b.durationUs - a.durationUs)) {
    const free = lanes.find((lane) => {
      const last = lane.at(-1);
      return !last || last.startUs + last.durationUs <= phase.startUs;
    });
    if (free) free.push(phase);
    else lanes.push([phase]);
  }
  return lanes;
}

function colourOf(name: string): number {
  const index = COLOURS.indexOf(name);
  return index === -1 ? COLOURS.length - 1 : index;
}

function colour(name: string): string {
  return `phase-${colourOf(name)}`;
}
