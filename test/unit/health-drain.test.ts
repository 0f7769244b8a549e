// When Slurm is told to drain or resume a node, and when not.
import { describe, expect, it } from 'vitest';
import type { Status } from '../../src/health/check.js';
import { checksIn, decide, isResumedByOthers, parseNode, reasonFor } from '../../src/health/drain.js';
import { Counted, tally, type History, type Tally } from '../../src/health/drain-history.js';
import type { Finding } from '../../src/health/run.js';

const RULES = { drainAfter: 2, resumeAfter: 3 };
const IDLE = parseNode('NodeName=n1 State=IDLE ThreadsPerCore=1');
const OURS = 'berth: store-space: 0.1 % of the space is free';

const drained = (reason: string, state = 'IDLE+DRAIN') =>
  parseNode(`NodeName=n1 State=${state} Reason=${reason} [root@2026-01-01T00:00:00]`);

/** What one check has shown, run after run. */
function after(...statuses: readonly Status[]): Tally {
  let counted: Tally | undefined;
  for (const status of statuses) counted = tally(counted, status);
  return counted ?? { fails: 0, passes: 0 };
}

/** What is known where every check that there was is there. */
function history(tallies: Readonly<Record<string, Tally>>): History {
  return { tallies: new Map(Object.entries(tallies)), textOf: () => '0.1 % free', absentFor: () => 0 };
}

function step(node: ReturnType<typeof parseNode>, tallies: Readonly<Record<string, Tally>>) {
  return decide(node, history(tallies), RULES).do;
}

const finding = (id: string, status: Status): Finding => ({
  id,
  family: 'site',
  status,
  text: 'found',
  hint: '',
  milliseconds: 1,
});

/** What is decided about a node after runs of the checks that found this. */
function afterRuns(node: ReturnType<typeof parseNode>, ...runs: readonly Readonly<Record<string, Status>>[]) {
  const counted = new Counted(['store-space', 'clock']);
  for (const run of runs) counted.count(Object.entries(run).map(([id, status]) => finding(id, status)));
  return decide(node, counted, RULES);
}

describe('a node', () => {
  it('is drained when the same check has failed often enough, with a reason that names it', () => {
    const decision = decide(IDLE, history({ 'store-space': after('fail', 'fail') }), RULES);
    expect(decision).toEqual({ do: 'drain', reason: 'berth: store-space: 0.1 % free' });
  });

  it.each([
    ['one failure', [['fail']]],
    ['failures of different checks', [['fail'], ['pass', 'fail']]],
    ['a failure that comes and goes', [['fail', 'pass', 'fail', 'pass', 'fail']]],
    ['warnings', [['warn', 'warn', 'warn']]],
    ['what could not be found out', [['unknown', 'unknown', 'unknown']]],
    ['a failure, and then not knowing', [['fail', 'unknown', 'fail']]],
  ] as const)('is not drained because of %s', (_, histories) => {
    const tallies = Object.fromEntries(histories.map((history, i) => [`check-${i}`, after(...history)]));
    expect(step(IDLE, tallies)).toBe('nothing');
  });

  it.each([
    ['drained by an administrator', drained('rack 5 is moved')],
    ['drained by Slurm', drained('Kill task failed')],
    ['drained by Berth already', drained(OURS)],
    ['down', parseNode('NodeName=n1 State=DOWN* Reason=Not responding [slurm@2026-01-01T00:00:00]')],
    [
      'up with a remark of somebody',
      parseNode('NodeName=n1 State=IDLE Reason=look at the fan [root@2026-01-01T00:00:00]'),
    ],
    ['not registered yet', parseNode('NodeName=n1 State=UNKNOWN')],
    ['in maintenance', parseNode('NodeName=n1 State=IDLE+MAINT')],
  ])('that is %s keeps its reason when a check fails', (_, node) => {
    expect(step(node, { 'store-space': after('fail', 'fail', 'fail') })).toBe('nothing');
  });

  it('that Berth drained is resumed when the check has passed often enough', () => {
    expect(step(drained(OURS), { 'store-space': after('fail', 'pass', 'pass', 'pass') })).toBe('resume');
    expect(step(drained(OURS), { 'store-space': after('fail', 'pass', 'warn', 'pass') })).toBe('resume');
  });

  it.each([
    ['too few passes', { 'store-space': after('fail', 'pass', 'pass') }],
    ['passes that are interrupted', { 'store-space': after('pass', 'pass', 'fail', 'pass', 'pass') }],
    ['not knowing', { 'store-space': after('pass', 'pass', 'pass', 'unknown') }],
    ['passes of another check', { canary: after('pass', 'pass', 'pass') }],
    ['a failure of another check', { 'store-space': after('pass', 'pass', 'pass'), canary: after('fail') }],
  ])('that Berth drained is not resumed on %s', (_, tallies) => {
    expect(step(drained(OURS), tallies)).toBe('nothing');
  });

  it.each([['rack 5 is moved'], ['not berth: store-space: but mine'], ['Berth: store-space: full'], ['berth']])(
    'that somebody else drained with "%s" is never resumed',
    (reason) => {
      expect(step(drained(reason), { 'store-space': after('pass', 'pass', 'pass', 'pass') })).toBe('nothing');
    },
  );

  it('that went down after Berth drained it is not brought back', () => {
    const well = after('pass', 'pass', 'pass');
    expect(step(drained(OURS, 'DOWN*+DRAIN'), { 'store-space': well })).toBe('nothing');
  });

  it('is resumed only when all checks pass that it was drained for', () => {
    const both = drained('berth: canary, store-space: full');
    const well = after('pass', 'pass', 'pass');
    expect(step(both, { canary: well })).toBe('nothing');
    expect(step(both, { canary: well, 'store-space': well })).toBe('resume');
  });
});

describe('a node that Berth drained for a check that there is no longer', () => {
  const site = drained('berth: site-scratch: not mounted');
  const other = { clock: 'pass' } as const;

  it.each([
    ["a check of the site's that was removed", site, ['site-scratch']],
    ["a check of Berth's that is skipped now", drained(OURS), ['store-space']],
  ])('is resumed after as many runs as passes would take: %s', (_, node, gone) => {
    expect(afterRuns(node, other, other)).toEqual({ do: 'nothing' });
    expect(afterRuns(node, other, other, other)).toEqual({ do: 'resume', gone });
  });

  it('is resumed so many runs after the check was there last', () => {
    const failing = { ...other, 'site-scratch': 'fail' } as const;
    expect(afterRuns(site, failing, other, other)).toEqual({ do: 'nothing' });
    expect(afterRuns(site, failing, other, other, other)).toEqual({ do: 'resume', gone: ['site-scratch'] });
  });

  it.each([
    ['while the check is there, and cannot tell', { ...other, 'site-scratch': 'unknown' }],
    ["while the directory of the site's checks cannot be read", { ...other, site: 'unknown' }],
    ['while another check fails', { clock: 'fail' }],
  ] as const)('is not resumed %s', (_, run) => {
    expect(afterRuns(site, run, run, run, run)).toEqual({ do: 'nothing' });
  });

  it('is not resumed for having been without it before the directory could not be read', () => {
    const unreadable = { ...other, site: 'unknown' } as const;
    expect(afterRuns(site, other, other, other, unreadable, other, other)).toEqual({ do: 'nothing' });
  });

  it('is resumed only when the other checks that it was drained for pass', () => {
    const both = drained('berth: site-scratch, clock: not mounted');
    const unknown = { clock: 'unknown' } as const;
    expect(afterRuns(both, unknown, unknown, unknown)).toEqual({ do: 'nothing' });
    expect(afterRuns(both, other, other, other)).toEqual({ do: 'resume', gone: ['site-scratch'] });
  });

  it.each(['berth: upgrade: until Friday', 'berth: site', 'berth: site scratch is mended: bob', 'berth: : x'])(
    'is not meant by "%s", which somebody else has written',
    (reason) => {
      expect(afterRuns(drained(reason), other, other, other, other)).toEqual({ do: 'nothing' });
    },
  );
});

describe('a node that somebody else has resumed', () => {
  const failing = [finding('clock', 'fail')];
  const counted = new Counted(['clock']);

  it('is found so when it was drained, and is no longer', () => {
    expect(isResumedByOthers(true, IDLE)).toBe(true);
    expect(isResumedByOthers(true, drained('rack 5 is moved'))).toBe(false);
    expect(isResumedByOthers(false, IDLE)).toBe(false);
  });

  it('is drained again only after as many failures as any other', () => {
    for (let run = 0; run < 5; run++) counted.count(failing);
    expect(decide(IDLE, counted, RULES).do).toBe('drain');
    counted.startAnew(failing);
    expect(decide(IDLE, counted, RULES).do).toBe('nothing');
    counted.count(failing);
    expect(decide(IDLE, counted, RULES).do).toBe('drain');
  });
});

describe('a reason', () => {
  it('is short and has nothing that a shell or slurm.conf would read otherwise', () => {
    const reason = reasonFor(['a'], `"x" 'y' \`z\` $HOME \u00e9\n${'long '.repeat(100)}`);
    expect(reason).toMatch(/^berth: a: x y z HOME \?\?long/);
    expect(reason.length).toBeLessThanOrEqual(200);
    expect(checksIn(reason)).toEqual(['a']);
  });

  it('has whole names of checks, however many have failed', () => {
    const ids = Array.from({ length: 40 }, (_, i) => `site-${'long'.repeat(3)}-${i}`);
    const named = checksIn(reasonFor(ids, 'broken')) ?? [];
    expect(named.length).toBeGreaterThan(3);
    expect(ids.slice(0, named.length)).toEqual(named);
  });

  it('is read as scontrol prints it', () => {
    const line =
      'NodeName=n1 Arch=x86_64 State=IDLE+DRAIN ThreadsPerCore=1 Reason=berth: a, b: it is [full] [root@2026-01-01T00:00:00]';
    expect(parseNode(line)).toEqual({ states: ['IDLE', 'DRAIN'], reason: 'berth: a, b: it is [full]' });
    expect(checksIn('berth: a, b: it is')).toEqual(['a', 'b']);
  });
});
