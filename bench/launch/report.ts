/** The results of the launch bench for people. */
import { machineLines, type Machine } from '../machine.js';
import { inWords, spread } from '../spread.js';
import { asReport, type Table } from '../table.js';
import { targetTable, type Target } from '../target.js';
import type { Build } from '../berthd.js';
import type { Idle, Join } from '../daemon-cost.js';
import type { Failure, Plan, Sample } from './rounds.js';
import type { Row } from './summary.js';

export interface Results {
  readonly started: string;
  readonly machine: Machine;
  readonly plan: Plan;
  readonly rows: readonly Row[];
  readonly targets: readonly Target[];
  readonly builds: readonly Build[];
  readonly joins: readonly Join[];
  readonly idle?: Idle;
  /** Milliseconds. */
  readonly starts: readonly number[];
  readonly samples: readonly Sample[];
  readonly failures: readonly Failure[];
}

export function report(results: Results, markdown: boolean): string {
  const tables = [targetTable(results.targets), ...launchTables(results), daemonTable(results)];
  return asReport([machineLines(results.machine), ...tables, notes(results).join('\n')], markdown);
}

function launchTables({ rows, plan }: Results): readonly Table[] {
  const groups = [
    { heading: 'a step of an allocation', baseline: 'bare-step' },
    { heading: 'a job of its own', baseline: 'bare-job' },
  ];
  return plan.ranks.flatMap((ranks) =>
    groups.map(({ heading, baseline }) => ({
      heading: `${ranks} ${ranks === 1 ? 'rank' : 'ranks'}, ${heading}`,
      columns: ['', 'wall ms', 'last rank starts ms', '× bare', 'adds ms', 'samples'],
      rows: rows
        .filter((row) => row.ranks === ranks && row.baseline === baseline)
        .map(({ title, wall, lastStart, ratio, added, samples, failures }) => [
          title,
          inWords(wall, 1),
          inWords(lastStart, 1),
          ratio === undefined ? '' : inWords(ratio, 2),
          added === undefined ? '' : inWords(added, 1),
          failures === 0 ? String(samples) : `${samples} (${failures} failed)`,
        ]),
    })),
  );
}

function daemonTable({ rows, builds, joins, idle, starts }: Results): Table {
  const names = [...new Set(builds.flatMap(({ phases }) => Object.keys(phases)))];
  const row = (title: string, values: readonly number[], digits = 2): string[] => [
    title,
    inWords(spread(values), digits),
    values.length === 0 ? '' : Math.max(...values).toFixed(digits),
    String(values.length),
  ];
  const total = (name: string): number[] => builds.map(({ phases }) => phases[name] ?? 0);
  return {
    heading: "berthd's own costs, in milliseconds",
    columns: ['', 'median', 'most', 'samples'],
    rows: [
      row(
        'a container, from request to reply',
        builds.map(({ total }) => total),
      ),
      ...names.map((name) => row(`… of it ${name}`, total(name))),
      row(
        'a rank of a warm step waits',
        joins.map(({ wait }) => wait),
        3,
      ),
      row(
        'a rank of a warm step joins',
        joins.map(({ join }) => join),
        3,
      ),
      ...rows
        .filter(({ case: id, samples }) => id.startsWith('berth-') && samples > 0)
        .map(({ title, ranks, daemon, samples }) => [
          `processor time, ${title}, ${ranks} ${ranks === 1 ? 'rank' : 'ranks'}`,
          inWords(daemon, 2),
          '',
          String(samples),
        ]),
      row('berthd starts, until it accepts', starts, 0),
      ...(idle === undefined
        ? []
        : [
            [`idle for ${idle.settling} s, wake-ups in the next ${idle.seconds} s`, String(idle.wakeUps), '', '1'],
            ['private memory, MiB', idle.privateMemory.toFixed(1), '', '1'],
            ['resident memory, MiB', idle.residentMemory.toFixed(1), '', '1'],
          ]),
    ],
  };
}

function notes({ plan, rows, samples, failures }: Results): string[] {
  const busy = samples.filter(({ quiet }) => !quiet).length;
  const slow = Math.min(plan.slowRounds, plan.rounds - 1);
  return [
    'Medians ± median absolute deviation. "× bare" and "adds" compare launches of the same round.',
    ...presence(rows),
    `${plan.rounds - 1} rounds after one to warm up; podman, being slow, only in ${slow} of them.`,
    ...(busy === 0
      ? ['The machine was quiet before every sample.']
      : [
          `Other programs kept the machine busy before ${busy} of ${samples.length} samples: run it again when it is quiet.`,
        ]),
    ...failures.map(({ case: id, ranks, message }) => `Failed: ${id}, ${ranks} ranks: ${message}`),
  ];
}

/** What launches without a container pay for Berth's being installed. */
function presence(rows: readonly Row[]): string[] {
  return rows.flatMap(({ case: id, ranks, added }) => {
    const launch = id === 'slurm-step' ? 'step' : id === 'slurm-job' ? 'job' : undefined;
    if (launch === undefined || added === undefined || ranks !== 1) return [];
    const without = { median: -added.median, deviation: added.deviation };
    return [
      `A ${launch} of one rank without a container takes ${inWords(without, 1)} ms longer where Berth is installed.`,
    ];
  });
}
