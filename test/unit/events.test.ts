import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import {
  Journal,
  RankSums,
  readCursor,
  Reader,
  Ring,
  type LaunchEvent,
  type NodeEvent,
  type RanksEvent,
  type Since,
} from '../../src/events/index.js';

const root = { uid: 0 };
const alice = { uid: 2001 };
const started: NodeEvent = { type: 'daemon', what: 'started', berthd: '1', adopted: 0 };

function launch(uid: number, job = 1): LaunchEvent {
  return { type: 'launch', job, step: 0, uid, purpose: 'step', image: 'debian', start: 'warm', totalUs: 80 };
}

type Told = { readonly type: string; readonly cursor: string } & Readonly<Record<string, unknown>>;

/** All that a reader is told now. */
function read(reader: Reader, now = 0): Told[] {
  const told: Told[] = [];
  for (let text = reader.next(now); text !== undefined; text = reader.next(now)) told.push(JSON.parse(text) as Told);
  return told;
}

const jobs = (told: readonly Told[]): unknown[] => told.map(({ job }) => job);

describe('the ring of events', () => {
  const entry = (text: string) => ({ type: 'daemon', uid: undefined, text }) as const;

  it('keeps so many, and knows the numbers of those it has', () => {
    const ring = new Ring(3, 1000);
    for (const text of ['a', 'b', 'c', 'd', 'e']) ring.append(entry(text));
    expect([ring.first, ring.next]).toEqual([3, 6]);
    expect([2, 3, 4, 5, 6].map((number) => ring.at(number)?.text)).toEqual([undefined, 'c', 'd', 'e', undefined]);
  });

  it('keeps so many bytes, in UTF-8', () => {
    const ring = new Ring(100, 10);
    ring.append(entry('12345'));
    ring.append(entry('äöü'));
    expect([ring.first, ring.bytes]).toEqual([2, 6]);
    ring.append(entry('1234'));
    expect([ring.first, ring.bytes]).toEqual([2, 10]);
  });

  it('forgets at once what is larger than all of it, and goes on counting', () => {
    const ring = new Ring(10, 4);
    ring.append(entry('123'));
    ring.append(entry('12345'));
    ring.append(entry('1'));
    expect([ring.first, ring.next, ring.bytes]).toEqual([3, 4, 1]);
  });
});

describe('a cursor', () => {
  it.each([
    '',
    '1',
    'oldest',
    '9f3c0a1b',
    '9f3c0a1b-',
    '9f3c0a1b--1',
    '9F3C0A1B-1',
    '9f3c0a1b-1234567890123456',
    ' 9f3c0a1b-1',
  ])('is not %j', (text) => {
    expect(readCursor(text)).toBeUndefined();
  });

  it('says in which life of berthd it is, and where', () => {
    expect(readCursor('9f3c0a1b-42')).toEqual({ epoch: '9f3c0a1b', sequence: 42 });
  });
});

describe('a reader', () => {
  let journal: Journal;
  beforeEach(() => {
    journal = new Journal(8, 100_000);
  });

  it('is told each event once, in order, with a cursor to go on from', () => {
    for (const job of [1, 2, 3]) journal.append(launch(0, job));
    const reader = new Reader(journal, root, 'oldest');
    const told = read(reader);
    expect(jobs(told)).toEqual([1, 2, 3]);
    expect(read(reader)).toEqual([]);
    journal.append(launch(0, 4));
    expect(jobs(read(reader))).toEqual([4]);
    expect(jobs(read(new Reader(journal, root, { cursor: told[1]?.cursor ?? '' })))).toEqual([3, 4]);
  });

  it('that begins now hears nothing of before', () => {
    journal.append(launch(0, 1));
    const reader = new Reader(journal, root, 'now');
    expect(read(reader)).toEqual([]);
    journal.append(launch(0, 2));
    expect(jobs(read(reader))).toEqual([2]);
  });

  describe('is told of a gap', () => {
    const gapOf = (since: Since): Told | undefined => read(new Reader(journal, root, since))[0];

    it('where what follows its cursor is forgotten, with how much', () => {
      for (let job = 1; job <= 20; job++) journal.append(launch(0, job));
      const told = read(new Reader(journal, root, { cursor: `${journal.epoch}-5` }));
      expect(told[0]).toMatchObject({ type: 'gap', reason: 'too-old', missed: 7, cursor: `${journal.epoch}-12` });
      expect(jobs(told.slice(1))).toEqual([13, 14, 15, 16, 17, 18, 19, 20]);
    });

    it("where its cursor is another berthd's", () => {
      journal.append(launch(0));
      expect(gapOf({ cursor: '00000000-1' })).toMatchObject({ type: 'gap', reason: 'restarted' });
    });

    it.each(['nonsense', '-1', '9f3c0a1b-'])('where its cursor is %j', (cursor) => {
      expect(gapOf({ cursor })).toMatchObject({ type: 'gap', reason: 'unknown' });
    });

    it('where its cursor lies ahead', () => {
      journal.append(launch(0));
      expect(gapOf({ cursor: `${journal.epoch}-2` })).toMatchObject({ type: 'gap', reason: 'unknown' });
      expect(gapOf({ cursor: `${journal.epoch}-1` })).toBeUndefined();
    });
  });

  it('that lets too much come is behind', () => {
    const reader = new Reader(journal, root, 'oldest');
    for (let job = 1; job <= 8; job++) journal.append(launch(0, job));
    expect(reader.isBehind).toBe(false);
    journal.append(launch(0, 9));
    expect(reader.isBehind).toBe(true);
  });

  describe('who is a plain user', () => {
    it("sees their own and the node's events in full, and of others' the number", () => {
      journal.append(started);
      for (const uid of [2002, 2002, 2001, 0, 2002]) journal.append(launch(uid, uid));
      journal.append({
        type: 'container',
        what: 'built',
        container: 'c',
        job: 9,
        uid: 2002,
        user: 'bob',
        image: 'secret',
        digest: 'd',
      });
      const told = read(new Reader(journal, alice, 'oldest'), 5000);
      expect(told).toMatchObject([
        { type: 'daemon' },
        { type: 'others', counts: { launch: 2 } },
        { type: 'launch', uid: 2001 },
      ]);
      expect(JSON.stringify(told)).not.toMatch(/bob|secret|2002/);
    });

    it('is told of others at most once a second, as a sum, and misses none of them by coming back', () => {
      const reader = new Reader(journal, alice, 'oldest');
      journal.append(launch(2002));
      expect(read(reader, 0)).toMatchObject([{ type: 'others', counts: { launch: 1 } }]);
      journal.append(launch(2002));
      journal.append(launch(2003));
      expect(read(reader, 10)).toEqual([]);
      expect(reader.othersDue(10)).toBe(990);
      const told = read(reader, 1000);
      expect(told).toMatchObject([{ type: 'others', counts: { launch: 2 } }]);
      expect(reader.othersDue(1000)).toBeUndefined();
      journal.append(launch(2002));
      const again = new Reader(journal, alice, { cursor: told[0]?.cursor ?? '' });
      expect(read(again, 1001)).toMatchObject([{ type: 'others', counts: { launch: 1 } }]);
    });
  });
});

describe('the journal', () => {
  beforeEach(() => {
    vi.useFakeTimers();
  });
  afterEach(() => {
    vi.useRealTimers();
  });

  it('sets no timer while nobody listens', () => {
    const journal = new Journal();
    const end = journal.listen(() => undefined);
    end();
    journal.append(started);
    expect(vi.getTimerCount()).toBe(0);
  });

  it('tells those who listen of a burst twice at most: of its beginning, and of the rest', async () => {
    const journal = new Journal();
    let told = 0;
    journal.listen(() => told++);
    for (let i = 0; i < 100; i++) {
      journal.append(started);
      await vi.advanceTimersByTimeAsync(1);
    }
    await vi.advanceTimersByTimeAsync(1000);
    expect(told).toBe(2);
    expect(vi.getTimerCount()).toBe(0);
  });
});

describe('the ranks of a step', () => {
  it('are one event, with least, median and most of their times', () => {
    vi.useFakeTimers();
    const told: RanksEvent[] = [];
    const sums = new RankSums((event) => told.push(event));
    const step = { job: 7, step: 0, uid: 2001, container: 'c' };
    for (const wait of [30, 10, 20, 40]) sums.joined(step, wait, wait * 2);
    sums.joined({ ...step, job: 8 }, 1, 1);
    vi.advanceTimersByTime(1000);
    vi.useRealTimers();
    expect(told).toEqual([
      {
        type: 'ranks',
        ...step,
        joined: 4,
        waitUs: { least: 10, median: 20, most: 40 },
        joinUs: { least: 20, median: 40, most: 80 },
      },
      expect.objectContaining({ job: 8, joined: 1 }),
    ]);
  });
});
