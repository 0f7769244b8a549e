import { constants } from 'node:os';
import type { Terminal } from './terminal.js';

const signals = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;

/**
 * Runs work that can be interrupted: the first signal aborts it and waits until it has cleaned up; the second one ends
 * the process as usual.
 *
 * @returns the work's exit status, or that of the interruption: 128 and the signal's number.
 */
export async function untilInterrupted(
  terminal: Terminal,
  work: (signal: AbortSignal) => Promise<number>,
): Promise<number> {
  const controller = new AbortController();
  let interruption: (typeof signals)[number] | undefined;
  const interrupt = (name: (typeof signals)[number]): void => {
    for (const other of signals) process.off(other, interrupt);
    interruption = name;
    controller.abort(new Error(`interrupted by ${name}`));
  };
  for (const name of signals) process.on(name, interrupt);
  try {
    return await work(controller.signal);
  } catch (error) {
    if (interruption === undefined) throw error;
    terminal.progress('');
    terminal.warn('berth: interrupted; what was not finished is undone');
    return 128 + constants.signals[interruption];
  } finally {
    for (const name of signals) process.off(name, interrupt);
  }
}
