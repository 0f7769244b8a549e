import { PassThrough } from 'node:stream';
import { describe, expect, it } from 'vitest';
import { nodeOverview } from '../../src/cli/node/overview.js';
import { Recent } from '../../src/cli/node/recent.js';
import { Redraw } from '../../src/cli/node/redraw.js';
import { eventLine } from '../../src/cli/node/words.js';
import type { NodeState } from '../../src/events/index.js';
import type { Message } from '../../src/cli/node/stream.js';
import { makeTerminal } from '../../src/cli/terminal.js';
import { setTimeout as sleep } from 'node:timers/promises';

const plainTerminal = makeTerminal(new PassThrough(), new PassThrough(), {});
const colourful = makeTerminal(Object.assign(new PassThrough(), { isTTY: true }), new PassThrough(), { TERM: 'xterm' });
const NOW = 1_000_000;

function launch(time: number, start: 'cold' | 'warm', totalUs: number, more: object = {}): Message {
  const about = {
    job: 7,
    step: 0,
    uid: 2001,
    user: 'alice',
    purpose: 'step',
    image: 'debian',
    container: 'c0ffee',
  } as const;
  const phases = [{ name: 'build', startUs: 0, durationUs: totalUs / 2 }];
  return { v: 1, cursor: '00000000-1', time, type: 'launch', ...about, start, totalUs, phases, ...more };
}

function state(containers: number): NodeState {
  return {
    v: 1,
    node: 'n1',
    berthd: '0.1.0',
    uid: 2001,
    time: NOW,
    started: NOW - 7200,
    cursor: '',
    containers: Array.from({ length: containers }, (_, index) => {
      return {
        container: `c${index}`,
        job: index,
        uid: 2001,
        user: 'alice',
        image: 'debian\u001b[2J',
        digest: `sha256:${index}`,
        created: NOW - index,
        ranks: 4,
      };
    }),
    otherContainers: 2,
    pulls: [{ pull: 1, image: 'ubuntu', received: 10e6, size: 40e6 }],
    otherPulls: 0,
  };
}

describe('berth top shows', () => {
  const recent = new Recent();
  for (let i = 0; i < 20; i++) recent.add(launch(NOW - 5, i === 0 ? 'cold' : 'warm', i === 0 ? 4000 : 80 + i));
  recent.add(launch(NOW - 60, 'cold', 2000, { error: 'BERTH_IMAGE_UNKNOWN', start: undefined }));
  const show = (size: { width: number; height: number }, containers = 3, terminal = plainTerminal): string[] =>
    nodeOverview(state(containers), recent, terminal, NOW, size);

  it('what is there, what happens, and how long it takes', () => {
    const text = show({ width: 120, height: 40 }).join('\n');
    expect(text).toContain(
      'n1: berthd 0.1.0, up 2 h\n3 containers (and 2 of others)   12 ranks   2.0 launches/s   1 failed   1 pull',
    );
    expect(text).toMatch(/^all +4\.00 +4\.00 +0\.09 +0\.10$/m);
    expect(text).toMatch(/^build +2\.00 +2\.00 +0\.04 +0\.05$/m);
    expect(text).toContain('pulling ubuntu: 10 MB of 40 MB');
    expect(text).toMatch(/launch {5}job 7 step 0, alice, debian: BERTH_IMAGE_UNKNOWN$/);
  });

  it.each([
    [80, 24],
    [40, 10],
    [200, 60],
    [10, 3],
  ])('no more than fits into %i columns and %i lines', (width, height) => {
    for (const terminal of [plainTerminal, colourful]) {
      const lines = show({ width, height }, 100, terminal);
      expect(lines.length).toBeLessThanOrEqual(height);
      for (const line of lines) expect(line.replace(/\u001b\[\d+m/g, '').length).toBeLessThanOrEqual(width);
    }
  });

  it('one of a thing as one', () => {
    const one = state(1);
    const alone = { ...one, containers: one.containers.map((container) => ({ ...container, ranks: 1 })) };
    const text = nodeOverview(alone, new Recent(), plainTerminal, NOW, { width: 120, height: 40 }).join('\n');
    expect(text).toContain('1 container (and 2 of others)   1 rank   0.0 launches/s   0 failed   1 pull');
    const forgotten = { v: 1, cursor: '', time: NOW, type: 'gap', reason: 'too-old', missed: 1 } as const;
    expect(eventLine(forgotten)).toMatch(/forgotten since then: 1 event$/);
  });

  it('no number of a job where a container belongs to none', () => {
    const lines = show({ width: 120, height: 40 });
    const jobs = lines.filter((line) => /^c\d /.test(line)).map((line) => line.split(/ +/)[1]);
    expect(jobs).toEqual(['-', '1', '2']);
  });

  it('nothing that steers the terminal, whatever images are called', () => {
    expect(show({ width: 120, height: 40 }).join('')).not.toContain('\u001b');
  });

  it('launches of others in its rate', () => {
    const others = new Recent();
    others.add({ v: 1, cursor: '', time: NOW, type: 'others', counts: { launch: 30, container: 2 } });
    expect(others.rate(NOW)).toBe(3);
    expect(others.rate(NOW + 11)).toBe(0);
  });
});

describe('the line of an event', () => {
  const at = new Date(2026, 0, 2, 3, 4, 5, 6);
  const about = { v: 1, cursor: '', time: at.getTime() / 1000 } as const;

  it('has the date unless it is of today', () => {
    const started: Message = { ...about, type: 'daemon', what: 'started', berthd: '0.1.0', adopted: 1 };
    const line = '03:04:05.006  daemon     berthd 0.1.0 started, with 1 container from before';
    expect(eventLine(started, new Date(2026, 0, 2, 23))).toBe(line);
    expect(eventLine(started, new Date(2026, 0, 3, 0))).toBe(`2026-01-02 ${line}`);
  });

  it('has no number of a job where a container belongs to none', () => {
    const container = { container: 'c0ffee', uid: 2001, user: 'alice', image: 'debian', digest: 'sha256:1' } as const;
    const built: Message = { ...about, type: 'container', what: 'built', job: 0, ...container };
    expect(eventLine(built, at)).toBe('03:04:05.006  container  c0ffee built, no job, alice, debian');
    expect(eventLine({ ...built, job: 7 }, at)).toContain('c0ffee built, job 7, alice');
  });

  it('says whose events are only counted', () => {
    const others: Message = { ...about, type: 'others', counts: { container: 4, ranks: 1 } };
    expect(eventLine(others, at)).toBe('03:04:05.006  others     events of other users: container 4, ranks 1');
  });
});

describe('drawing', () => {
  it('follows a change at once, and a burst of them a few times a second', async () => {
    let drawn = 0;
    const redraw = new Redraw(() => {
      drawn++;
      return Promise.resolve();
    });
    redraw.soon();
    await sleep(30);
    expect(drawn).toBe(1);
    for (let i = 0; i < 60; i++) {
      redraw.soon();
      await sleep(10);
    }
    redraw.stop();
    expect(drawn).toBeGreaterThan(2);
    expect(drawn).toBeLessThan(6);
  });

  it('does not put off for later what has changed', async () => {
    let drawn = 0;
    const redraw = new Redraw(() => {
      drawn++;
      return Promise.resolve();
    });
    redraw.in(60_000);
    redraw.soon();
    await sleep(30);
    redraw.stop();
    expect(drawn).toBe(1);
  });
});
