// What berthd gives back to the node once it has nothing to do.
import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import { Tidier } from '../../src/daemon/tidy.js';

const MIB = 1024 * 1024;

beforeEach(() => {
  vi.useFakeTimers();
});

afterEach(() => {
  vi.useRealTimers();
});

/** Buffers that are nobody's when this returns. */
function makeGarbage(): void {
  const buffers = Array.from({ length: 10_000 }, () => new ArrayBuffer(4096));
  expect(process.memoryUsage().arrayBuffers).toBeGreaterThan(buffers.length * 4096);
}

it('the memory of buffers is free when what is free is given back, not some time after', () => {
  const tidier = new Tidier();
  for (let round = 0; round < 5; round++) {
    makeGarbage();
    tidier.busy();
    vi.advanceTimersByTime(4_999);
    expect(process.memoryUsage().arrayBuffers).toBeGreaterThan(32 * MIB);
    vi.advanceTimersByTime(1);
    expect(process.memoryUsage().arrayBuffers).toBeLessThan(8 * MIB);
  }
});
