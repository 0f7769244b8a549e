import { describe, expect, it } from 'vitest';
import { IMAGE_IDS, identityMap, subordinateRange } from '../../src/container/idmap.js';

interface Line {
  readonly inside: number;
  readonly outside: number;
  readonly count: number;
}

function parse(map: string): Line[] {
  return map
    .split('\n')
    .slice(0, -1)
    .map((line) => {
      expect(line).toMatch(/^\d+ \d+ \d+$/);
      const [inside = NaN, outside = NaN, count = NaN] = line.split(' ').map(Number);
      return { inside, outside, count };
    });
}

/** Where an id inside leads outside. */
function outsideOf(map: readonly Line[], id: number): number | undefined {
  const line = map.find(({ inside, count }) => id >= inside && id < inside + count);
  return line && line.outside + id - line.inside;
}

/** What the kernel asks of a map: user_namespaces(7). */
function expectAcceptable(text: string): Line[] {
  const map = parse(text);
  expect(map.length).toBeLessThanOrEqual(340);
  expect(text.length).toBeLessThan(4096);
  for (const side of ['inside', 'outside'] as const) {
    const sorted = map.toSorted((a, b) => a[side] - b[side]);
    for (const [i, line] of sorted.entries()) {
      const next = sorted[i + 1];
      expect(line.count).toBeGreaterThan(0);
      if (next) expect(line[side] + line.count).toBeLessThanOrEqual(next[side]);
    }
  }
  return map;
}

const range = { start: 500_000, count: 65_536 };

describe('an identity map', () => {
  it('has the user as they are, and every other id of an image among the subordinate ids', () => {
    expect(identityMap([1000], range)).toBe('0 500000 1000\n1000 1000 1\n1001 501001 64535\n');
  });

  it('has ids above those of images after them', () => {
    expect(identityMap([70_001], range)).toBe('0 500000 65536\n70001 70001 1\n');
  });

  it('has root as root without a subordinate id in its place', () => {
    expect(identityMap([0], range)).toBe('0 0 1\n1 500001 65535\n');
  });

  it('has the last of the image ids', () => {
    expect(identityMap([65_535], range)).toBe('0 500000 65535\n65535 65535 1\n');
  });

  it('puts neighbours on one line, in whatever order and however often they are named', () => {
    expect(identityMap([1002, 1000, 1001, 1000], range)).toBe('0 500000 1000\n1000 1000 3\n1003 501003 64533\n');
  });

  it('uses no more subordinate ids than there are', () => {
    expect(identityMap([1000], { start: 500_000, count: 10 })).toBe('0 500000 10\n1000 1000 1\n');
    expect(identityMap([5], { start: 500_000, count: 10 })).toBe('0 500000 5\n5 5 1\n6 500006 4\n');
    expect(identityMap([1000], { start: 500_000, count: 1_000_000 })).toBe(
      '0 500000 1000\n1000 1000 1\n1001 501001 64535\n',
    );
  });

  it('has the ids alone where there are no subordinate ones', () => {
    expect(identityMap([1000, 2000], undefined)).toBe('1000 1000 1\n2000 2000 1\n');
  });

  it('gives no host id twice where one of the ids is among the subordinate ones', () => {
    expect(identityMap([500_100], range)).toBe('0 500000 100\n101 500101 65435\n500100 500100 1\n');
    expect(identityMap([50], { start: 40, count: 100 })).toBe('0 40 10\n11 51 39\n50 50 1\n51 91 49\n');
  });

  it('takes the highest id that there is', () => {
    expect(identityMap([2 ** 32 - 2], range)).toBe('0 500000 65536\n4294967294 4294967294 1\n');
  });

  it('leaves the image ids out before any group, where the kernel has no room for all', () => {
    const ids = Array.from({ length: 250 }, (_, i) => 10_000 + 2 * i);
    const map = expectAcceptable(identityMap(ids, range));
    expect(outsideOf(map, 0)).toBeUndefined();
    for (const id of ids) expect(outsideOf(map, id)).toBe(id);
  });

  it('leaves out the last groups where not even the groups fit, and no more of them than it must', () => {
    const ids = Array.from({ length: 400 }, (_, i) => 10 * i);
    const map = expectAcceptable(identityMap(ids, range));
    expect(map).toHaveLength(340);
    expect(outsideOf(map, ids[339] ?? 0)).toBe(ids[339]);
    expect(outsideOf(map, ids[340] ?? 0)).toBeUndefined();
  });

  it('stays below a page where the numbers are long', () => {
    const ids = Array.from({ length: 340 }, (_, i) => 4_000_000_000 - 2 * i);
    expectAcceptable(identityMap(ids, undefined));
    expect(identityMap(ids, undefined).length).toBeGreaterThan(4000);
  });

  it('is made for a user in as many groups as the kernel allows', () => {
    const ids = Array.from({ length: 65_536 }, (_, i) => 100_000 + 3 * i);
    expectAcceptable(identityMap(ids, range));
  });

  it('is one the kernel accepts, whatever the ids are', () => {
    let seed = 20_240_601;
    const random = (below: number): number => {
      seed = (Math.imul(seed, 1_103_515_245) + 12_345) >>> 0;
      return Math.floor((seed / 2 ** 32) * below);
    };
    for (let round = 0; round < 400; round++) {
      const spread = [50, 5000, 70_000, 2 ** 31][random(4)] ?? 50;
      const ids = Array.from({ length: 1 + random(60) }, () => random(spread));
      const subordinate = { start: 1 + random(spread), count: 1 + random(70_000) };
      const text = identityMap(ids, subordinate);
      const map = expectAcceptable(text);
      for (const id of ids) expect(outsideOf(map, id), `${text} of ${ids.join()}`).toBe(id);
      for (let probe = 0; probe < 20; probe++) {
        const image = random(IMAGE_IDS);
        const outside = subordinate.start + image;
        const expected = ids.includes(image)
          ? image
          : image < subordinate.count && !ids.includes(outside)
            ? outside
            : undefined;
        expect(outsideOf(map, image)).toBe(expected);
      }
    }
  });
});

describe("a user's subordinate ids", () => {
  it('are found by name or by number', () => {
    expect(subordinateRange('alice:100000:65536\n', 'alice', 1000)).toEqual({ start: 100_000, count: 65_536 });
    expect(subordinateRange('1000:100000:65536\n', 'alice', 1000)).toEqual({ start: 100_000, count: 65_536 });
  });

  it("are not another's", () => {
    expect(subordinateRange('alice2:100000:65536\n10000:1:2\n', 'alice', 1000)).toBeUndefined();
    expect(subordinateRange('', 'alice', 1000)).toBeUndefined();
  });

  it('are the largest of several rows', () => {
    const text = 'alice:100000:1000\nbob:200000:900000\nalice:300000:65536\n1000:400000:10\n';
    expect(subordinateRange(text, 'alice', 1000)).toEqual({ start: 300_000, count: 65_536 });
  });

  it.each([
    'alice',
    'alice:100000',
    'alice:100000:65536:more',
    'alice:x:65536',
    'alice:100000:',
    'alice::65536',
    'alice:-5:65536',
    'alice:0:65536',
    'alice:100000:0',
    'alice:1.5:10',
    'alice:4294967295:10',
    'alice:4294900000:70000',
  ])('are none of the row %s', (row) => {
    expect(subordinateRange(`${row}\n`, 'alice', 1000)).toBeUndefined();
  });
});
