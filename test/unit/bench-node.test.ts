// The node's bench: what it promises, and what it makes of numbers. Measuring takes a cluster.
import { describe, expect, it } from 'vitest';
import { UsageError } from '../../bench/arguments.js';
import { healthPart } from '../../bench/node/health/part.js';
import { idlePart } from '../../bench/node/idle/part.js';
import { node } from '../../bench/node/bench.js';
import { readersPart } from '../../bench/node/readers/part.js';
import { startPart } from '../../bench/node/start/part.js';
import { readArguments } from '../../bench/parts/arguments.js';
import type { Values } from '../../bench/parts/part.js';
import type { Sample } from '../../bench/parts/samples.js';

const sample = (group: string, variant: string, values: Values): Sample => ({
  group,
  variant,
  round: 1,
  quiet: true,
  values,
});

describe('the targets of the node', () => {
  it('are of health: what the client takes beyond a program that does nothing, and all checks', () => {
    const samples = [
      sample('client', 'true', { wall: 1.5 }),
      sample('client', 'cached', { wall: 7 }),
      sample('checks', 'all', { wall: 30, processor: 51 }),
    ];
    expect(healthPart.targets(samples)).toMatchObject([
      { limit: 5, unit: 'ms', measured: 5.5, met: false },
      { limit: 1000, unit: 'ms', measured: 30, met: true },
      { limit: 50, unit: 'ms', measured: 51, met: false },
    ]);
  });

  it('are of berthd that nobody asks: wake-ups and memory', () => {
    expect(idlePart.targets([sample('idle', 'berthd', { wakeUps: 3, privateMemory: 10.5 })])).toMatchObject([
      { limit: 2, unit: 'per minute', measured: 3, met: false },
      { limit: 15, unit: 'MiB', measured: 10.5, met: true },
    ]);
  });

  it('are of starting: berthd itself, and the launch that starts it', () => {
    const samples = [
      sample('program', 'node', { wall: 25 }),
      sample('program', 'berthd', { wall: 80 }),
      sample('launch', 'running', { wall: 60 }),
      sample('launch', 'first', { wall: 210 }),
    ];
    expect(startPart.targets(samples)).toMatchObject([
      { limit: 200, measured: 80, met: true },
      { limit: 200, measured: 150, met: true },
      { limit: 200, measured: 210, met: false },
    ]);
  });

  it('are not measured without samples', () => {
    for (const part of [healthPart, idlePart, startPart])
      for (const { met } of part.targets([])) expect(met).toBeUndefined();
    expect(readersPart.targets([])).toEqual([]);
  });
});

describe('the command line of the node’s bench', () => {
  it('takes its parts, and no options of other benches', () => {
    expect(readArguments(['start', 'health'], node).parts).toEqual([healthPart, startPart]);
    expect(() => readArguments(['--ranks', '2'], node)).toThrow(UsageError);
    expect(() => readArguments(['launch'], node)).toThrow(UsageError);
  });
});
