import { el } from './dom.js';
import { clock, size } from './format.js';
import type { PullInProgress } from '../events/index.js';
import type { Pull } from './types.js';

/** Failed pulls that are shown. */
export const MOST_FAILED = 5;

/** How far a pull is. */
export function pullBar(origin: string, { pull, image, received, size: whole }: PullInProgress): HTMLParagraphElement {
  const id = `${origin}-pull-${pull}`;
  const bar = el('progress', {
    id,
    max: String(Math.max(1, whole)),
    value: whole === 0 ? undefined : String(received),
  });
  const amount = whole === 0 ? 'asking the registry' : `${size(received)} of ${size(whole)}`;
  return el('p', {}, el('label', { for: id }, `${image}: ${amount}`), bar);
}

/** A list of pulls that have failed, with what and why. */
export function failedPulls(pulls: readonly Pull[]): HTMLUListElement {
  const items = pulls.map(({ uid, user = `uid ${uid}`, image, time, error, text }) =>
    el(
      'li',
      {},
      el('p', {}, el('span', { class: 'badge fail' }, 'failed'), ' ', el('strong', {}, image)),
      el('p', { class: 'quiet' }, `${clock(time)} · ${user}`),
      el('p', { class: 'error' }, el('strong', {}, error), text === undefined ? undefined : ` ${text}`),
    ),
  );
  return el('ul', { class: 'failed-pulls', 'aria-label': 'Pulls that have failed' }, ...items);
}
