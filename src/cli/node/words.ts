import type { Message } from './stream.js';
import { count, milliseconds, plain, size } from '../terminal.js';
import { stepName } from '../timeline.js';

/** Longest name of an image in a line, in characters. */
const MOST_IMAGE = 80;

/** An event as a line for people: when, with the date unless it is today's, and what. */
export function eventLine(message: Message, now = new Date()): string {
  return `${when(new Date(message.time * 1000), now)}  ${plain(`${message.type.padEnd(9)}  ${words(message)}`)}`;
}

/** The time on this node, to the millisecond. */
function when(date: Date, now: Date): string {
  const two = (value: number): string => String(value).padStart(2, '0');
  const time = [date.getHours(), date.getMinutes(), date.getSeconds()].map(two).join(':');
  const clock = `${time}.${String(date.getMilliseconds()).padStart(3, '0')}`;
  if (date.toDateString() === now.toDateString()) return clock;
  return `${[String(date.getFullYear()), two(date.getMonth() + 1), two(date.getDate())].join('-')} ${clock}`;
}

function words(event: Message): string {
  switch (event.type) {
    case 'hello':
      return `${event.node}, berthd ${event.berthd}, ${event.uid === 0 ? "everybody's events" : 'your events'}`;
    case 'daemon':
      return `berthd ${event.berthd} started, with ${count(event.adopted, 'container')} from before`;
    case 'launch': {
      const about = `job ${event.job} ${stepName(event.step)}, ${event.user ?? `uid ${event.uid}`}, ${short(event.image)}`;
      if (event.error !== undefined) return [about, event.error, ...(event.text ? [event.text] : [])].join(': ');
      const took = `${milliseconds(event.totalUs ?? 0)} ms`;
      return `${about}: ${event.start === 'cold' ? 'built' : 'found'} ${event.container ?? ''} in ${took}`;
    }
    case 'ranks': {
      const { job, step, joined, container, waitUs, joinUs } = event;
      const times = `waited ${milliseconds(waitUs.median)} ms, entered in ${milliseconds(joinUs.median)} ms (medians)`;
      return `job ${job} ${stepName(step)}: ${count(joined, 'rank')} in ${container}, ${times}`;
    }
    case 'container': {
      const job = event.job === 0 ? 'no job' : `job ${event.job}`;
      return `${event.container} ${event.what}, ${job}, ${event.user}, ${short(event.image)}`;
    }
    case 'pull': {
      const about = `${event.user ?? `uid ${event.uid}`}, ${short(event.image)}`;
      const amount = event.size === 0 ? '' : `, ${size(event.received)} of ${size(event.size)}`;
      const failure = [event.error, event.text].filter((words) => words !== undefined);
      return [about, `${event.what}${amount}`, ...failure].join(': ');
    }
    case 'health': {
      const hint = event.hint === '' ? '' : `; hint: ${event.hint}`;
      return `${event.check}: ${event.from === undefined ? '' : `${event.from} → `}${event.to}: ${event.text}${hint}`;
    }
    case 'drain': {
      if (event.what === 'drained') return `${event.node} drained in Slurm: ${event.reason}`;
      const gone = event.gone ? `; no longer checked: ${event.gone.join(', ')}` : '';
      return `${event.node} resumed in Slurm, which was drained with "${event.reason}"${gone}`;
    }
    case 'others':
      return `events of other users: ${Object.entries(event.counts)
        .map(([type, count]) => `${type} ${count}`)
        .join(', ')}`;
    case 'gap':
      return {
        restarted: 'berthd was restarted since: what happened between is not known',
        'too-old': `forgotten since then: ${event.missed === undefined ? 'some events' : count(event.missed, 'event')}`,
        unknown: 'there is no such place in the stream: it begins with the oldest event',
      }[event.reason];
  }
}

function short(image: string): string {
  return image.length > MOST_IMAGE ? `${image.slice(0, MOST_IMAGE - 1)}…` : image;
}
