import { version } from '../protocol/index.js';
import { count, type Status } from './check.js';
import type { Finding } from './run.js';

/** The version of what `--json` writes: raised when a field changes its meaning or goes. */
const JSON_VERSION = 1;

/** The findings of one run. */
export interface Results {
  readonly node: string;
  /** Milliseconds since the epoch. */
  readonly time: number;
  readonly milliseconds: number;
  readonly findings: readonly Finding[];
}

/** What a command line ends with. */
const EXIT: Readonly<Record<Status, number>> = { pass: 0, warn: 1, unknown: 1, fail: 2 };

/** Nagios' plugin interface has a status of its own for what is not known. */
const NAGIOS_EXIT: Readonly<Record<Status, number>> = { pass: 0, warn: 1, fail: 2, unknown: 3 };
const NAGIOS_WORD: Readonly<Record<Status, string>> = {
  pass: 'OK',
  warn: 'WARNING',
  fail: 'CRITICAL',
  unknown: 'UNKNOWN',
};

export interface Report {
  readonly text: string;
  readonly exitStatus: number;
}

/** Worst first: what is only unknown is often so because of what fails. */
const WORST_FIRST: readonly Status[] = ['fail', 'warn', 'unknown'];

/** The worst of all. */
export function overall(findings: readonly Finding[]): Status {
  return WORST_FIRST.find((status) => findings.some((finding) => finding.status === status)) ?? 'pass';
}

/** A line for each finding, worst first, or with `all` for each check in the order of the table; and one that counts them. */
export function asText({ findings }: Results, all: boolean): Report {
  const shown = all ? findings : WORST_FIRST.flatMap((wanted) => findings.filter(({ status }) => status === wanted));
  const lines = shown.map(
    ({ status, id, text, hint }) => `${status.padEnd(7)} ${id}: ${text}${hint === '' ? '' : `; hint: ${hint}`}`,
  );
  return { text: `${[...lines, counted(findings)].join('\n')}\n`, exitStatus: EXIT[overall(findings)] };
}

function counted(findings: readonly Finding[]): string {
  const parts = (['fail', 'warn', 'unknown', 'pass'] as const).flatMap((status) => {
    const number = findings.filter((finding) => finding.status === status).length;
    return number > 0 ? [`${number} ${status}`] : [];
  });
  return `${count(findings.length, 'check')}: ${parts.join(', ')}`;
}

export function asJson({ node, time, milliseconds, findings }: Results): Report {
  const status = overall(findings);
  const document = {
    version: JSON_VERSION,
    node,
    berthd: version,
    time: new Date(time).toISOString(),
    milliseconds,
    status,
    checks: findings,
  };
  return { text: `${JSON.stringify(document, undefined, 2)}\n`, exitStatus: EXIT[status] };
}

/** Nagios' plugin output: a line, with counts after the bar. Neither "|" nor a newline may come from what was read. */
export function asNagios({ milliseconds, findings }: Results): Report {
  const status = overall(findings);
  const worst = findings.filter((finding) => finding.status === status && status !== 'pass');
  const text = worst
    .map(({ id, text: words }) => `${id}: ${words}`)
    .join('; ')
    .replaceAll('|', '/');
  const of = (wanted: Status): number => findings.filter((finding) => finding.status === wanted).length;
  const counts = `failed=${of('fail')} warned=${of('warn')} unknown=${of('unknown')} time=${milliseconds / 1000}s`;
  const line = `BERTH ${NAGIOS_WORD[status]} - ${text || counted(findings)} | ${counts}`;
  return { text: `${line}\n`, exitStatus: NAGIOS_EXIT[status] };
}

/** Prometheus' text format, for the textfile collector. */
export function asPrometheus({ time, milliseconds, findings }: Results): Report {
  const value: Readonly<Record<Status, number>> = { pass: 0, warn: 1, fail: 2, unknown: 3 };
  const lines = [
    '# HELP berth_health_status What a check found: 0 pass, 1 warn, 2 fail, 3 unknown.',
    '# TYPE berth_health_status gauge',
    ...findings.map(
      ({ id, family, status }) => `berth_health_status{check="${id}",family="${family}"} ${value[status]}`,
    ),
    '# HELP berth_health_check_seconds How long a check took.',
    '# TYPE berth_health_check_seconds gauge',
    ...findings.map((finding) => `berth_health_check_seconds{check="${finding.id}"} ${finding.milliseconds / 1000}`),
    '# HELP berth_health_ok Whether no check failed.',
    '# TYPE berth_health_ok gauge',
    `berth_health_ok ${findings.some(({ status }) => status === 'fail') ? 0 : 1}`,
    '# HELP berth_health_run_seconds How long all checks took together.',
    '# TYPE berth_health_run_seconds gauge',
    `berth_health_run_seconds ${milliseconds / 1000}`,
    '# HELP berth_health_time_seconds When they were done, since the epoch.',
    '# TYPE berth_health_time_seconds gauge',
    `berth_health_time_seconds ${Math.round(time / 1000)}`,
  ];
  return { text: `${lines.join('\n')}\n`, exitStatus: EXIT[overall(findings)] };
}
