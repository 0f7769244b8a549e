import { setTimeout as sleep } from 'node:timers/promises';
import type { Holder, Lease, Task, Turns } from '../image/index.js';

/**
 * How often a node looks whether another one has made what both need, in milliseconds: that reads one small file. Every
 * so many times it also looks whether the other is still there, which asks more of the store's file system.
 */
const LOOK = 500;
const LOOKS_FOR_HOLDER = 4;

/** Either this node's turn, which it gives up when it is done; or another has done it meanwhile. */
export type Turn<T> = { readonly lease: Lease } | { readonly result: T };

/** What a node that waits for its turn does meanwhile. */
export interface Waiting<T> {
  /** What the work is to give, if it is there. */
  readonly find: () => Promise<T | undefined>;
  /** Hears who has the turn, as soon as it is known and whenever it is looked at. */
  readonly held: (holder: Holder) => void;
  /** How far the work is once it is this node's, for those who wait then. */
  readonly tells: () => string;
  /** Ends the wait. */
  readonly signal: AbortSignal;
}

/**
 * Waits for the turn at work that one node does for all that share the store.
 *
 * @throws what `find` does; an AbortError
 */
export async function waitForTurn<T>(
  turns: Turns,
  task: Task,
  { find, held, tells, signal }: Waiting<T>,
): Promise<Turn<T>> {
  for (let look = 0; ; look++) {
    if (look > 0) {
      const result = await find();
      if (result !== undefined) return { result };
    }
    if (look % LOOKS_FOR_HOLDER === 0) {
      const lease = await turns.take(task, tells);
      if (lease) return await unlessDone(lease, find);
      const holder = await turns.holder(task);
      if (holder) held(holder);
    }
    await sleep(LOOK, undefined, { signal });
  }
}

/** Whoever had the turn before may have been done just now. */
async function unlessDone<T>(lease: Lease, find: () => Promise<T | undefined>): Promise<Turn<T>> {
  let result: T | undefined;
  try {
    result = await find();
  } catch (error) {
    await lease.release();
    throw error;
  }
  if (result === undefined) return { lease };
  await lease.release();
  return { result };
}
