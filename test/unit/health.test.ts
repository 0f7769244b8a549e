// The table of checks, how they are run, and how their findings are told.
import { readFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { describe, expect, it, vi } from 'vitest';
import { pass, type Check, type Status } from '../../src/health/check.js';
import { parseRule } from '../../src/health/checks/site.js';
import { checks, healthPage } from '../../src/health/index.js';
import { commands } from '../../src/cli/commands/index.js';
import { asJson, asNagios, asPrometheus, asText, type Results } from '../../src/health/report.js';
import { Runner, type Finding } from '../../src/health/run.js';
import { hostlistHas, linesOf } from '../../src/health/slurm-facts.js';
import { madeUpNodes } from './health-node.js';

const { nodeWith } = madeUpNodes();

describe('the table of checks', () => {
  it('is what docs/health.md describes', async () => {
    await expect(healthPage()).toMatchFileSnapshot('../../docs/health.md');
  });

  it('has at least 25, each with an id of its own and all that an administrator needs to know', () => {
    expect(checks.length).toBeGreaterThanOrEqual(25);
    expect(new Set(checks.map(({ id }) => id)).size).toBe(checks.length);
    for (const { id, reads, rule, matters, hint } of checks) {
      expect(id).toMatch(/^[a-z]+(-[a-z]+)*$/);
      for (const words of [reads, rule, matters, hint]) expect(words.length).toBeGreaterThan(5);
    }
  });

  it('names only commands that there are as what to do', () => {
    const named = checks.flatMap(({ hint }) => [...hint.matchAll(/\bberth ([a-z]+)/g)].map(([, name]) => name));
    expect(named.length).toBeGreaterThan(2);
    expect(commands.map(({ name }) => name)).toEqual(expect.arrayContaining(named));
  });

  it('names only checks that there are as what another needs', () => {
    const ids = checks.map(({ id }) => id);
    for (const { needs = [] } of checks) expect(ids).toEqual(expect.arrayContaining([...needs]));
  });
});

describe('a run', () => {
  const words = { family: 'site', reads: '', rule: '', matters: '', hint: 'do something' } as const;
  const make = (id: string, run: Check['run'], needs: readonly string[] = []): Check => ({ ...words, id, run, needs });

  it('gives up on a check that does not end, and does not start it again', async () => {
    vi.useFakeTimers();
    try {
      const never = vi.fn(() => new Promise<never>(() => undefined));
      const runner = new Runner();
      const context = nodeWith({});
      const first = runner.run([make('slow', never), make('quick', () => pass('fine'))], context);
      await vi.advanceTimersByTimeAsync(5_001);
      expect(await first).toMatchObject([
        { id: 'slow', status: 'unknown', text: 'stuck: it did not end within 5 s' },
        { id: 'quick', status: 'pass' },
      ]);
      const [second] = await runner.run([make('slow', never)], context);
      expect(second?.text).toMatch(/^stuck since .* not started again$/);
      expect(never).toHaveBeenCalledTimes(1);
    } finally {
      vi.useRealTimers();
    }
  });

  it('does not try what would fail for another reason, nor what needs that', async () => {
    const broken = make('broken', () => ({ status: 'fail', text: 'gone' }));
    const findings = await new Runner().run(
      [make('last', () => pass(''), ['middle']), make('middle', () => pass(''), ['broken']), broken],
      nodeWith({}),
    );
    expect(findings.map(({ id, status, text }) => [id, status, text])).toEqual([
      ['last', 'unknown', 'not tried, because of middle'],
      ['middle', 'unknown', 'not tried, because of broken'],
      ['broken', 'fail', 'gone'],
    ]);
    // What to do is said once, where the cause is.
    expect(findings.map(({ hint }) => hint !== '')).toEqual([false, false, true]);
  });

  it('does not know, when a check itself is at fault', async () => {
    const faulty = make('faulty', () => Promise.reject(new Error('no such thing')));
    expect(await new Runner().run([faulty], nodeWith({}))).toMatchObject([
      { status: 'unknown', text: 'no such thing' },
    ]);
  });

  it('lets nothing that was read steer a terminal', async () => {
    const [finding] = await new Runner().run([make('a', () => pass('\x1b[2Jred\nline\u202e'))], nodeWith({}));
    expect(finding?.text).toBe('[2Jred line');
  });
});

describe('a report', () => {
  const finding = (id: string, status: Status, text: string): Finding => ({
    id,
    family: 'store',
    status,
    text,
    hint: status === 'pass' ? '' : 'mend it',
    milliseconds: 1.5,
  });
  const results: Results = {
    node: 'n1',
    time: Date.UTC(2026, 0, 2),
    milliseconds: 12,
    findings: [finding('a', 'pass', 'fine'), finding('c', 'unknown', 'dark'), finding('b', 'fail', 'x | y')],
  };
  const well: Results = { ...results, findings: [finding('a', 'pass', 'fine')] };
  const dark: Results = { ...results, findings: [finding('c', 'unknown', 'dark')] };

  it('as text has a line for each finding, worst first, and with --all for each check, in their order', () => {
    const [passed, unknown, failed] = [
      'pass    a: fine',
      'unknown c: dark; hint: mend it',
      'fail    b: x | y; hint: mend it',
    ];
    expect(asText({ ...results, findings: [finding('a', 'pass', '')] }, false).text).toBe('1 check: 1 pass\n');
    const counted = '3 checks: 1 fail, 1 unknown, 1 pass';
    expect(asText(results, false)).toEqual({ text: `${failed}\n${unknown}\n${counted}\n`, exitStatus: 2 });
    expect(asText(results, true).text).toBe(`${passed}\n${unknown}\n${failed}\n${counted}\n`);
  });

  it.each([
    [well, 0, 0],
    [dark, 1, 3],
    [results, 2, 2],
  ])('ends with 0, 1 or 2; for Nagios 3 is unknown', (which, status, nagios) => {
    expect([asText, asJson, asPrometheus].map((render) => render(which, false).exitStatus)).toEqual([
      status,
      status,
      status,
    ]);
    expect(asNagios(which).exitStatus).toBe(nagios);
  });

  it('as JSON tells the version of its layout', () => {
    expect(JSON.parse(asJson(results).text)).toMatchObject({
      version: 1,
      node: 'n1',
      status: 'fail',
      time: '2026-01-02T00:00:00.000Z',
      checks: [{ id: 'a' }, { id: 'c' }, { id: 'b', hint: 'mend it' }],
    });
  });

  it('for Nagios is one line with one bar', () => {
    const { text } = asNagios(results);
    expect(text).toBe('BERTH CRITICAL - b: x / y | failed=1 warned=0 unknown=1 time=0.012s\n');
  });

  it('for Prometheus has a sample for each check', () => {
    const { text } = asPrometheus(results);
    expect(text).toContain('berth_health_status{check="b",family="store"} 2\n');
    expect(text).toContain('berth_health_ok 0\n');
    expect(text.split('\n').every((line) => /^$|^# (HELP|TYPE) |^[a-z_]+(\{[^}]*\})? [0-9.]+$/.test(line))).toBe(true);
  });
});

describe('slurm.conf', () => {
  it.each([
    ['n[1-4,7],m', 'n4', true],
    ['n[1-4,7],m', 'n7', true],
    ['n[1-4,7],m', 'm', true],
    ['n[1-4]', 'n5', false],
    ['n[1-4]', 'n04', false],
    ['n[01-12]', 'n07', true],
    ['n[01-12]', 'n7', false],
    ['r[1-2]n[3-4]', 'r2n3', true],
    ['r[1-2]n[3-4]', 'r3n3', false],
    ['n1', 'n10', false],
  ])('%s has %s: %s', (list, host, expected) => {
    expect(hostlistHas(list, host)).toBe(expected);
  });

  it('is read with its includes, comments and continued lines', () => {
    const { slurm } = nodeWith({
      'slurm.conf': 'AuthType=auth/none # not munge\nInclude more.conf\nTaskPlugin=task/affinity,\\\ntask/cgroup\n',
      'more.conf': 'NodeName=n[1-2] RealMemory=5\n',
    });
    expect(slurm?.get('authtype')).toBe('auth/none');
    expect(slurm?.ofNode('n2', 'RealMemory')).toBe('5');
    expect(slurm?.ofNode('n3', 'RealMemory')).toBeUndefined();
  });

  it('has plugins also where plugstack.conf includes a directory, as in Debian', () => {
    const { slurm } = nodeWith({
      'slurm.conf': '',
      'plugstack.conf': 'include plugstack.conf.d/*.conf\n',
      'plugstack.conf.d/b.conf': 'required /b.so\n',
      'plugstack.conf.d/a.conf': 'required /a.so\n',
      'plugstack.conf.d/.hidden.conf': 'required /hidden.so\n',
      'plugstack.conf.d/a.conf.dpkg-old': 'required /old.so\n',
    });
    const text = readFileSync(slurm?.plugstack ?? '', 'utf8');
    const lines = [...linesOf(text, dirname(slurm?.plugstack ?? ''), 0)];
    expect(lines).toEqual(['required /a.so', 'required /b.so']);
  });
});

describe("a site's rule", () => {
  it.each([
    ['files = "/x"', /no key files/],
    ['file = "x"', /absolute/],
    ['file = 1', /to be a string/],
    ['file = "/x"\nseverity = "bad"', /severity/],
    ['file = "/x"\nat_least = "1"', /number/],
    ['file = "/x"\nmatches = "("', /regular expression/i],
  ])('%s is refused', (text, why) => {
    expect(() => parseRule(text)).toThrow(why);
  });
});
