// The inside bench: what is compared with what, and what it makes of numbers. Measuring takes a cluster.
import { describe, expect, it } from 'vitest';
import { UsageError } from '../../bench/arguments.js';
import { readArguments } from '../../bench/parts/arguments.js';
import { inTurn } from '../../bench/in-turn.js';
import { inside } from '../../bench/inside/bench.js';
import { cachePart, sumOfRanks } from '../../bench/inside/cache/part.js';
import { importsPart } from '../../bench/inside/imports/part.js';
import { loopTime } from '../../bench/inside/lammps/part.js';
import { launchPart } from '../../bench/inside/launch/part.js';
import { volumeOption } from '../../bench/inside/launch/volumes.js';
import { memoryPart } from '../../bench/inside/memory/part.js';
import { partTable, report } from '../../bench/parts/report.js';
import { compared, spreadOf, type Sample, type Samples } from '../../bench/parts/samples.js';
import type { Values } from '../../bench/parts/part.js';
import { parseVolumeList } from '../../src/options/volumes.js';

const sample = (group: string, variant: string, round: number, values: Values): Sample => ({
  group,
  variant,
  round,
  quiet: true,
  values,
});

describe('the order of a round', () => {
  const rounds = [0, 1, 2, 3];

  it('has everything once', () => {
    for (const round of rounds) expect([...inTurn([1, 2, 3, 4, 5], round)].sort()).toEqual([1, 2, 3, 4, 5]);
  });

  it('has each of two as often first as the other', () => {
    expect(rounds.map((round) => inTurn(['bare', 'inside'], round)[0])).toEqual(['bare', 'inside', 'inside', 'bare']);
  });

  it('may be empty', () => {
    expect(inTurn([], 3)).toEqual([]);
  });
});

describe('what is compared', () => {
  // The second round was slow for both, the third has no bare one.
  const samples: Samples = [
    sample('a', 'bare', 1, { wall: 10 }),
    sample('a', 'inside', 1, { wall: 11 }),
    sample('a', 'inside', 2, { wall: 220 }),
    sample('a', 'bare', 2, { wall: 200 }),
    sample('a', 'inside', 3, { wall: 90 }),
    sample('b', 'bare', 1, { wall: 1 }),
    sample('b', 'inside', 1, { wall: 5 }),
  ];

  it('was measured in the same round and group', () => {
    expect(compared(samples, 'a', 'inside', 'bare', 'wall', 'ratio').median).toBeCloseTo(1.1);
    expect(compared(samples, 'a', 'inside', 'bare', 'wall', 'difference')).toEqual({ median: 10.5, deviation: 9.5 });
    expect(compared(samples, 'b', 'inside', 'bare', 'wall', 'ratio').median).toBe(5);
  });

  it('is nothing where there is no such number', () => {
    expect(spreadOf(samples, 'a', 'inside', 'wall').median).toBe(90);
    expect(spreadOf(samples, 'a', 'inside', 'build').median).toBeNaN();
    expect(compared(samples, 'a', 'inside', 'nothing', 'wall', 'ratio').median).toBeNaN();
  });
});

describe('targets', () => {
  it('of bind mounts: a tenth of what a hundred add', () => {
    const targets = launchPart.targets([
      sample('launch', 'plain', 1, { wall: 50 }),
      sample('launch', '100', 1, { wall: 57 }),
      sample('launch', 'bare', 1, { wall: 30 }),
      sample('launch', 'root', 1, { wall: 46 }),
    ]);
    expect(targets.find(({ name }) => name.startsWith('ten bind mounts'))).toMatchObject({ limit: 1, met: true });
    expect(targets[0]?.measured).toBeCloseTo(0.7);
    const of = (words: string) => targets.find(({ name }) => name.includes(words));
    expect(of('--container-remap-root')).toMatchObject({ limit: 15, measured: 16, met: false });
    expect(of('plain')).toMatchObject({ measured: 20, met: false });
    expect(of('--container-writable')?.met).toBeUndefined();
  });

  it("of reading another rank's memory: one for each size", () => {
    const targets = memoryPart.targets([
      sample('64', 'outside', 1, { rate: 10 }),
      sample('64', 'inside', 1, { rate: 9.7 }),
      sample('4096', 'outside', 1, { rate: 8 }),
      sample('4096', 'inside', 1, { rate: 8 }),
    ]);
    expect(targets.map(({ met }) => met)).toEqual([false, undefined, undefined, true]);
  });

  it('of imports with cold caches: only where those were measured', () => {
    const warm = [sample('warm', 'bare', 1, { wall: 100 }), sample('warm', 'inside', 1, { wall: 101 })];
    const cold = [sample('cold', 'bare', 1, { wall: 100 }), sample('cold', 'inside', 1, { wall: 110 })];
    expect(importsPart.targets(warm).map(({ met }) => met)).toEqual([true]);
    expect(importsPart.targets([...warm, ...cold]).map(({ met }) => met)).toEqual([true, false]);
  });
});

describe('the report', () => {
  const variants = ['shared', 'ext4', 'xfs'].map((id) => ({ group: 'create', id, title: `on ${id}` }));
  const samples = [
    sample('create', 'shared', 1, { rate: 100 }),
    sample('create', 'ext4', 1, { rate: 250 }),
    sample('create', 'xfs', 2, { rate: 120 }),
  ];
  const { name, heading, columns } = cachePart;
  const part = { name, heading, columns, rounds: 3, variants, notes: ['About it.'], samples };

  it('compares what comes after what it is compared with, where both were measured', () => {
    expect(partTable(part).rows).toEqual([
      ['on shared', '100', ''],
      ['on ext4', '250', '2.50'],
      ['on xfs', '120', ''],
    ]);
  });

  it('says how many rounds counted, and what was noted; without targets it has no table of them', () => {
    const machine = { system: 'Debian', kernel: '6.1', processor: 'x', cores: 2, memory: 4, versions: {} };
    const text = report({ started: '', machine, parts: [part], targets: [] }, true);
    expect(text).toContain('cache 2');
    expect(text).toContain('About it.');
    expect(text).not.toContain('Targets');
  });
});

describe('the command line', () => {
  it('takes parts in their own order, and all when none is named', () => {
    expect(readArguments([], inside).parts).toEqual(inside.parts);
    expect(readArguments(['memory', 'launch', '--rounds', '3'], inside)).toMatchObject({
      parts: [launchPart, memoryPart],
      rounds: 3,
      own: { cold: false, ranks: 32 },
    });
  });

  it.each([
    [['nothing']],
    [['launch', '--rounds', '1']],
    [['--ranks', '33']],
    [['--unknown']],
    [['launch', '--cold=1']],
  ])('refuses %j', (argv) => {
    expect(() => readArguments(argv, inside)).toThrow(UsageError);
  });
});

describe('what programs print', () => {
  it('is a number from each rank', () => {
    expect(sumOfRanks('1.5\n2\n', 2)).toBe(3.5);
    expect(() => sumOfRanks('1.5\n', 2)).toThrow('2 ranks');
    expect(() => sumOfRanks('1.5\nerror\n', 2)).toThrow('error');
  });

  it('is how long LAMMPS computed with so many ranks', () => {
    expect(loopTime('Setting up\nLoop time of 0.75 on 2 procs for 1000 steps with 4000 atoms\n', 2)).toBe(750);
    expect(() => loopTime('Loop time of 0.75 on 1 procs for 1000 steps\n', 2)).toThrow('2 ranks');
  });
});

it('asks for bind mounts of different directories at different places', () => {
  const volumes = parseVolumeList(volumeOption(50).replace('--volume=', ''), '--volume');
  expect(new Set(volumes.map(({ destination }) => destination)).size).toBe(50);
  expect(volumes.every(({ kind }) => kind === 'bind')).toBe(true);
});
