import type { NodeState } from '../../events/index.js';
import { age, count, milliseconds, plain, size, table, type Terminal } from '../terminal.js';
import type { Recent } from './recent.js';

/** Containers that are listed, when there is room. */
const MOST_CONTAINERS = 15;

/** Lines that the last events have at least, where there is room for any. */
const LEAST_EVENTS = 3;

/**
 * A node at a glance: no more lines than `height`, none longer than `width`.
 *
 * @param now seconds since the epoch.
 */
export function nodeOverview(
  state: NodeState,
  recent: Recent,
  terminal: Terminal,
  now: number,
  { width, height }: { readonly width: number; readonly height: number },
): string[] {
  const head = [...heading(state, recent, terminal, now), '', ...launches(recent, terminal), ''];
  const pulls = state.pulls.map(({ image, received, size: whole }) => {
    const amount = whole === 0 ? 'asking the registry' : `${size(received)} of ${size(whole)}`;
    return `pulling ${plain(image)}: ${amount}`;
  });
  const room = height - head.length - pulls.length - 2 - LEAST_EVENTS;
  const containers = containerList(state, terminal, now, Math.max(1, Math.min(MOST_CONTAINERS, room)));
  const lines = [...head, ...containers, ...pulls, ''];
  const events = recent.lines.slice(-Math.max(0, height - lines.length)).map((line) => terminal.dim(cut(line, width)));
  return [...lines.map((line) => cut(line, width)), ...(height > lines.length ? events : [])].slice(0, height);
}

function heading(state: NodeState, recent: Recent, terminal: Terminal, now: number): string[] {
  const ranks = state.containers.reduce((sum, container) => sum + container.ranks, 0);
  const more = (others: number): string => (others > 0 ? ` (and ${others} of others)` : '');
  const rate = recent.rate(now);
  const counts = [
    `${count(state.containers.length, 'container')}${more(state.otherContainers)}`,
    count(ranks, 'rank'),
    `${rate < 10 ? rate.toFixed(1) : Math.round(rate)} launches/s`,
    `${recent.failed} failed`,
    `${count(state.pulls.length, 'pull')}${more(state.otherPulls)}`,
  ];
  return [
    terminal.bold(`${plain(state.node)}: berthd ${plain(state.berthd)}, up ${age(now - state.started)}`),
    counts.join('   '),
  ];
}

function launches(recent: Recent, terminal: Terminal): string[] {
  const [cold, warm] = [recent.launches('cold'), recent.launches('warm')];
  const columns = ['COLD: MEDIAN MS', 'MOST MS', 'WARM: MEDIAN MS', 'MOST MS'].map((title) => ({ title, right: true }));
  const names = [...new Set([...cold.phases, ...warm.phases].map(({ name }) => name))];
  const cells = (of: typeof cold, name: string): string[] => {
    const found = name === 'all' ? of.total : of.phases.find((phase) => phase.name === name);
    return found && of.count > 0 ? [milliseconds(found.median), milliseconds(found.most)] : ['', ''];
  };
  const rows = ['all', ...names].map((name) => [name, ...cells(cold, name), ...cells(warm, name)]);
  const title = `LAUNCHES (last ${cold.count} cold, ${warm.count} warm)`;
  return cold.count + warm.count === 0
    ? ['no launches yet']
    : table([{ title }, ...columns], rows, terminal).split('\n');
}

function containerList({ containers }: NodeState, terminal: Terminal, now: number, room: number): string[] {
  if (containers.length === 0) return ['no containers'];
  const columns = [
    { title: 'CONTAINER' },
    { title: 'JOB', right: true },
    { title: 'USER' },
    { title: 'RANKS', right: true },
    { title: 'AGE', right: true },
    { title: 'IMAGE' },
  ];
  const newest = containers.toSorted((a, b) => b.created - a.created);
  const rows = newest.slice(0, room).map(({ container, job, user, ranks, created, image }) => {
    return [container, job === 0 ? '-' : String(job), user, String(ranks), age(now - created), image];
  });
  const left = containers.length - rows.length;
  return [...table(columns, rows, terminal).split('\n'), ...(left > 0 ? [`and ${count(left, 'older one')}`] : [])];
}

/** A line with escapes of bold and dim is cut by what shows of it. */
function cut(line: string, width: number): string {
  const shown = line.replace(/\x1b\[\d+m/g, '');
  return shown.length <= width ? line : shown.slice(0, width);
}
