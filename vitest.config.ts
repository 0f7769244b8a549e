import { defineConfig } from 'vitest/config';

// By what the tests need: unit runs for anyone; kernel is root on real namespaces, mounts and loop devices; slurm is a
// private cluster for each file. The kernel's tests measure what the machine has, so one file runs at a time; clusters know
// nothing of each other. A limit is there to end what hangs, and is never what a test is about.
const expectations = { poll: { timeout: 15_000 } };

export default defineConfig({
  test: {
    projects: [
      {
        test: {
          name: 'unit',
          include: ['test/unit/**/*.test.ts'],
          testTimeout: 20_000,
          expect: expectations,
          sequence: { groupOrder: 0 },
        },
      },
      {
        test: {
          name: 'kernel',
          include: ['test/kernel/**/*.test.ts'],
          fileParallelism: false,
          testTimeout: 60_000,
          expect: expectations,
          hookTimeout: 60_000,
          sequence: { groupOrder: 1 },
        },
      },
      {
        test: {
          name: 'slurm',
          include: ['test/slurm/**/*.test.ts'],
          maxWorkers: 3,
          testTimeout: 120_000,
          expect: expectations,
          hookTimeout: 120_000,
          sequence: { groupOrder: 2 },
        },
      },
    ],
  },
});
