import { age, milliseconds, table, type Terminal } from './terminal.js';

export interface LaunchView {
  /** Slurm's step id, special ones included. */
  readonly step: number;
  /** Seconds since the epoch. */
  readonly started: number;
  /** Did it build the container, or find it ready? */
  readonly cold: boolean;
  /** Microseconds since the request arrived. */
  readonly phases: readonly { readonly name: string; readonly startUs: number; readonly durationUs: number }[];
  readonly ranks: readonly { readonly waitUs: number; readonly joinUs: number }[];
}

/**
 * What the start of one job step on this node was made of, or of one `berth run`.
 *
 * @param container its id as people see it, and its job, 0 where it belongs to none.
 */
export function timeline(
  container: { readonly id: string; readonly job: number },
  launch: LaunchView,
  terminal: Terminal,
): string {
  const { step, started, cold, phases, ranks } = launch;
  const ago = age(Date.now() / 1000 - started);
  const name = container.job === 0 ? 'berth run' : stepName(step);
  const head = `${container.id}  ${name}, ${cold ? 'built the container' : 'found it ready'}, ${ago} ago`;
  const columns = [{ title: 'PHASE' }, { title: 'START MS', right: true }, { title: 'DURATION MS', right: true }];
  const rows = phases.map(({ name, startUs, durationUs }) => [name, milliseconds(startUs), milliseconds(durationUs)]);
  return [
    terminal.bold(head),
    ...indent(table(columns, rows, terminal)),
    ...(ranks.length === 0 ? [] : indent(rankTable(ranks, terminal))),
  ].join('\n');
}

function rankTable(ranks: LaunchView['ranks'], terminal: Terminal): string {
  const columns = ['MIN MS', 'MEDIAN MS', 'MAX MS'].map((title) => ({ title, right: true }));
  const row = (title: string, values: number[]): string[] => {
    const sorted = values.toSorted((a, b) => a - b);
    return [title, ...[sorted.at(0), median(sorted), sorted.at(-1)].map((value) => milliseconds(value ?? 0))];
  };
  const count = `${ranks.length} RANK${ranks.length === 1 ? '' : 'S'}`;
  const rows = [
    row(
      'wait',
      ranks.map(({ waitUs }) => waitUs),
    ),
    row(
      'join',
      ranks.map(({ joinUs }) => joinUs),
    ),
  ];
  return table([{ title: count }, ...columns], rows, terminal);
}

/** Of sorted numbers; of an even count, the mean of the middle two. */
export function median(sorted: readonly number[]): number | undefined {
  const upper = sorted[Math.floor(sorted.length / 2)];
  const lower = sorted[Math.ceil(sorted.length / 2) - 1];
  return upper === undefined || lower === undefined ? undefined : (lower + upper) / 2;
}

/** Slurm's numbers for steps that are not srun's (slurm.h). */
const special = new Map([
  [0xfffffffb, 'batch'],
  [0xfffffffc, 'extern'],
  [0xfffffffa, 'interactive'],
  [0xfffffffd, 'prolog'],
]);

/** Slurm's word for a step, by its number. */
export function stepName(step: number): string {
  return special.get(step) ?? `step ${step}`;
}

function indent(block: string): string[] {
  return block.split('\n').map((line) => `    ${line}`);
}
