import { el } from './dom.js';
import { clock } from './format.js';
import type { Drain, Finding, Status } from './types.js';

const WORDS: Readonly<Record<Status, string>> = { pass: 'pass', warn: 'warning', fail: 'fails', unknown: 'unknown' };

/** After a number. */
const COUNTED: Readonly<Record<Status, string>> = {
  pass: 'passed',
  warn: 'warned',
  fail: 'failed',
  unknown: 'unknown',
};

const ORDER: readonly Status[] = ['fail', 'warn', 'unknown', 'pass'];

/** The worst of all. */
export function overall(findings: Iterable<Finding>): Status {
  const found = new Set([...findings].map(({ status }) => status));
  return ORDER.find((status) => found.has(status)) ?? 'unknown';
}

export function badge(status: Status): HTMLSpanElement {
  return el('span', { class: `badge ${status}` }, WORDS[status]);
}

/** "1 failed, 36 passed" */
export function counted(findings: readonly Finding[]): string {
  const parts = ORDER.flatMap((status) => {
    const count = findings.filter((finding) => finding.status === status).length;
    return count > 0 ? [`${count} ${COUNTED[status]}`] : [];
  });
  return parts.length === 0 ? 'not checked yet' : parts.join(', ');
}

/** What is not as it should be, each with what to do. */
export function problems(findings: readonly Finding[]): HTMLElement {
  const bad = findings
    .filter(({ status }) => status !== 'pass')
    .toSorted((a, b) => ORDER.indexOf(a.status) - ORDER.indexOf(b.status));
  if (bad.length === 0)
    return el('p', { class: 'quiet' }, findings.length === 0 ? 'Checking…' : 'Every check has passed.');
  const items = bad.map(({ id, status, text, hint }) =>
    el(
      'li',
      {},
      el('p', {}, badge(status), ' ', el('span', { class: 'id' }, id)),
      el('p', {}, text),
      hint === '' ? undefined : el('p', { class: 'hint' }, `What to do: ${hint}`),
    ),
  );
  return el('ul', { class: 'findings' }, ...items);
}

/** What Berth has told Slurm last. */
export function drained({ what, time, node, reason }: Drain): HTMLElement {
  const text = what === 'drained' ? `drained ${node}: ${reason}` : `resumed ${node}, drained with "${reason}"`;
  return el('p', { class: 'drain' }, `In Slurm, Berth has ${text} (${clock(time)})`);
}

/** What has passed, for those who want to know. */
export function passed(findings: readonly Finding[]): HTMLLIElement[] {
  return findings
    .filter(({ status }) => status === 'pass')
    .map(({ id, text }) => el('li', {}, el('span', { class: 'id' }, id), ` ${text}`));
}
