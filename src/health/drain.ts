import { execFile } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { promisify } from 'node:util';
import { reasonOf } from '../errors/index.js';
import { drainworthy, type DrainRules, type History } from './drain-history.js';

const run = promisify(execFile);

/** Every reason of Berth's begins with this; nobody else's is touched. */
export const PREFIX = 'berth: ';

/** Longest reason, in characters: sinfo -R cuts it anyway. */
const MOST_REASON = 200;

/** Of it, characters of the checks' ids. */
const MOST_IDS = 120;

/** scontrol waits for a controller that does not answer: no longer than this, in milliseconds. */
const SCONTROL_LIMIT = 10_000;

/** How far up from the client slurmd is looked for: a site may call Berth from a script of its own. */
const MOST_ANCESTORS = 8;

/** States in which a node is not Berth's to drain or resume, whatever else it is. */
const UNUSABLE = /^(DOWN|FAIL|MAINT|POWER|REBOOT|FUTURE|UNKNOWN|NOT_RESPONDING)/;

/** A node as scontrol shows it. */
export interface NodeInSlurm {
  /** In capitals: IDLE, DRAIN, DOWN, NOT_RESPONDING, … */
  readonly states: readonly string[];
  /** Without what scontrol adds about whose and when. */
  readonly reason: string;
}

export type Step =
  | { readonly do: 'nothing' }
  | { readonly do: 'drain'; readonly reason: string }
  | {
      readonly do: 'resume';
      /** Of the checks that it was drained for, those that there no longer are. */
      readonly gone: readonly string[];
    };

const NOTHING: Step = { do: 'nothing' };

/** What Berth has done to a node in Slurm. */
export interface NodeChange {
  readonly what: 'drained' | 'resumed';
  /** NodeName of slurm.conf. */
  readonly node: string;
  /** With which it was drained. */
  readonly reason: string;
  /** For a resumed node: of the checks that it was drained for, those that there no longer are. */
  readonly gone: readonly string[];
  /** Where it was done before this berthd started: seconds since the epoch. */
  readonly time?: number;
}

/** For the log. */
export function inWords({ what, node, reason, gone, time }: NodeChange): string {
  const earlier = time === undefined ? '' : ` while no berthd ran, at ${new Date(time * 1000).toISOString()}`;
  if (what === 'drained') return `drained ${node}${earlier}: ${reason}`;
  return `resumed ${node}, which was drained with "${reason}"${gone.length > 0 ? `; no longer checked: ${gone.join(', ')}` : ''}`;
}

/** "berth: ID, ID: what the first found"; of very many, the first, as half an id is nobody's. */
export function reasonFor(ids: readonly string[], text: string): string {
  const plain = text.replace(/["'\\`$]/g, '').replace(/[^\x20-\x7e]/g, '?');
  const named: string[] = [];
  for (const id of ids) {
    if (named.length > 0 && [...named, id].join(', ').length > MOST_IDS) break;
    named.push(id);
  }
  return `${PREFIX}${named.join(', ')}: ${plain}`.slice(0, MOST_REASON).trimEnd();
}

/** The checks that a reason of Berth's names; undefined when it is not Berth's. */
export function checksIn(reason: string): string[] | undefined {
  if (!reason.startsWith(PREFIX)) return undefined;
  const [ids = ''] = reason.slice(PREFIX.length).split(':');
  return ids.split(',').map((id) => id.trim());
}

export function isDrained({ states }: NodeInSlurm): boolean {
  return states.includes('DRAIN') || states.includes('DRAINED') || states.includes('DRAINING');
}

/** @param wasDrained when Berth looked at it last, or by what Berth did then */
export function isResumedByOthers(wasDrained: boolean, node: NodeInSlurm): boolean {
  return wasDrained && !isDrained(node);
}

/** What to do about the node, by what Slurm says of it now. */
export function decide(node: NodeInSlurm, history: History, rules: DrainRules): Step {
  const { tallies, textOf, absentFor } = history;
  const failing = drainworthy(tallies, rules);
  const isElse = node.states.some((state) => UNUSABLE.test(state));
  const [first] = failing;
  if (first !== undefined) {
    // Whoever has taken the node out has a reason, which stays; and so does an earlier one of ours.
    if (isDrained(node) || isElse || node.reason !== '') return NOTHING;
    return { do: 'drain', reason: reasonFor(failing, textOf(first)) };
  }
  const ours = checksIn(node.reason);
  if (!isDrained(node) || isElse || ours === undefined) return NOTHING;
  const gone = ours.filter((id) => absentFor(id) >= rules.resumeAfter);
  const isWell = ours.every((id) => gone.includes(id) || (tallies.get(id)?.passes ?? 0) >= rules.resumeAfter);
  const isFailing = [...tallies.values()].some(({ fails }) => fails > 0);
  return isWell && !isFailing ? { do: 'resume', gone } : NOTHING;
}

/** How the node was, and what came of it. */
export interface Settled {
  readonly node: NodeInSlurm;
  /** Undefined where nothing was done. */
  readonly change: NodeChange | undefined;
  /** Is it drained now? */
  readonly isDrained: boolean;
  /** Somebody else has resumed it: nothing was done, and what was counted before is to be counted anew. */
  readonly isResumedByOthers: boolean;
}

/**
 * Asks Slurm about the node, decides, and does it.
 *
 * @param wasDrained was the node drained after the last time?
 * @throws Error when scontrol fails or does not end in time.
 */
export async function settle(name: string, history: History, rules: DrainRules, wasDrained: boolean): Promise<Settled> {
  const node = parseNode(await scontrol('--oneliner', 'show', 'node', name));
  if (isResumedByOthers(wasDrained, node))
    return { node, change: undefined, isDrained: false, isResumedByOthers: true };
  const step = decide(node, history, rules);
  const settled = { node, isResumedByOthers: false };
  if (step.do === 'drain') {
    await scontrol('update', `NodeName=${name}`, 'State=DRAIN', `Reason=${step.reason}`);
    const change = { what: 'drained', node: name, reason: step.reason, gone: [] } as const;
    return { ...settled, change, isDrained: true };
  }
  if (step.do === 'resume') {
    // UNDRAIN, unlike RESUME, does not bring back a node that went down meanwhile.
    await scontrol('update', `NodeName=${name}`, 'State=UNDRAIN');
    const change = { what: 'resumed', node: name, reason: node.reason, gone: step.gone } as const;
    return { ...settled, change, isDrained: false };
  }
  return { ...settled, change: undefined, isDrained: isDrained(node) };
}

/** What `scontrol --oneliner show node` prints. */
export function parseNode(line: string): NodeInSlurm {
  const state = / State=(\S+)/.exec(line)?.[1] ?? 'UNKNOWN';
  const reason = / Reason=(.*?)(?: \[[^\]]*\])?(?: Comment=.*)?\s*$/s.exec(line)?.[1] ?? '';
  return { states: state.replace('*', '+NOT_RESPONDING').split('+'), reason };
}

async function scontrol(...words: string[]): Promise<string> {
  try {
    const { stdout } = await run('scontrol', words, { timeout: SCONTROL_LIMIT, killSignal: 'SIGKILL' });
    return stdout;
  } catch (error) {
    throw new Error(`scontrol ${words.join(' ')}: ${reasonOf(error)}`, { cause: error });
  }
}

/**
 * Which slurmd has started a process, directly or through a script: its pid and start time, as pids come round again.
 * Undefined when none has.
 */
export function slurmdAbove(pid: number): string | undefined {
  for (let at = pid, i = 0; at > 1 && i < MOST_ANCESTORS; i++) {
    let stat: string;
    try {
      stat = readFileSync(`/proc/${at}/stat`, 'utf8');
    } catch {
      return undefined;
    }
    const name = stat.slice(stat.indexOf('(') + 1, stat.lastIndexOf(')'));
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    if (name === 'slurmd') return `${at} ${fields[19] ?? ''}`;
    at = Number(fields[1]);
  }
  return undefined;
}
