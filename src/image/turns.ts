import { createHash } from 'node:crypto';
import { storeFailure } from './failures.js';
import { Lease, readLease, type Progress } from './lease.js';
import type { Workshop } from './workshop.js';

/** Something that one node makes for all that share the store. */
export interface Task {
  /** For whom. */
  readonly uid: number;
  /** The same words on all nodes. */
  readonly words: string;
}

export interface Holder {
  readonly host: string;
  /** How far it is, as it says; empty as long as it says nothing. */
  readonly words: string;
}

/**
 * Of all nodes with this store that launch the same missing image for the same user, one pulls or makes it. As any lease,
 * this saves work and nothing depends on it.
 */
export class Turns {
  constructor(private readonly workshop: Workshop) {}

  /**
   * The turn, unless another has it.
   *
   * @param tells how far it is, for those who wait; asked every few seconds.
   * @throws BerthError BERTH_STORE_FULL, BERTH_STORE_UNUSABLE
   */
  async take(task: Task, tells: () => string): Promise<Lease | undefined> {
    const { layout, self } = this.workshop;
    const progress = (): Promise<Progress> => Promise.resolve({ blobs: [], made: 0, words: tells() });
    try {
      return await Lease.take(layout, keyOf(task), { owner: self, uid: task.uid }, progress);
    } catch (error) {
      throw storeFailure(layout.root, error);
    }
  }

  /** Who has it; undefined when nobody does any more. */
  async holder(task: Task): Promise<Holder | undefined> {
    const { layout, self } = this.workshop;
    const held = await readLease(layout, keyOf(task), self);
    return held && { host: held.owner.host, words: held.progress.words ?? '' };
  }
}

function keyOf({ uid, words }: Task): string {
  return `sha256:${createHash('sha256').update(`for ${uid}: ${words}`).digest('hex')}`;
}
