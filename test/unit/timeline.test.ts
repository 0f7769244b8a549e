import { PassThrough } from 'node:stream';
import { describe, expect, it } from 'vitest';
import { makeTerminal } from '../../src/cli/terminal.js';
import { timeline } from '../../src/cli/timeline.js';

const terminal = makeTerminal(new PassThrough(), new PassThrough(), {});

describe('the timeline of a launch', () => {
  const head = (job: number, step: number, cold = true): string => {
    const launch = { step, started: Date.now() / 1000, cold, phases: [], ranks: [] };
    return timeline({ id: 'c0ffee', job }, launch, terminal).split('\n')[0] ?? '';
  };

  it.each([
    [0, 'c0ffee  step 0, built the container, 0 s ago'],
    [12, 'c0ffee  step 12, built the container, 0 s ago'],
    [0xfffffffb, 'c0ffee  batch, built the container, 0 s ago'],
  ])("says which step it was of a job (Slurm's number %i)", (step, line) => {
    expect(head(7, step)).toBe(line);
  });

  it('says of no step where the container belongs to no job', () => {
    expect(head(0, 2)).toBe('c0ffee  berth run, built the container, 0 s ago');
    expect(head(0, 3, false)).toBe('c0ffee  berth run, found it ready, 0 s ago');
  });
});
