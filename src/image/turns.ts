import { createHash } from 'node:crypto';
import { Lease, readLease } from './lease.js';
import type { Workshop } from './workshop.js';

/** Something that one node makes for all that share the store. */
export interface Task {
  /** For whom. */
  readonly uid: number;
  /** The same words on all nodes. */
  readonly words: string;
}

/**
 * Of all nodes with this store that launch the same missing image for the same user, one pulls or makes it. As any lease,
 * this saves work and nothing depends on it.
 */
export class Turns {
  constructor(private readonly workshop: Workshop) {}

  /** The turn, unless another has it. */
  take(task: Task): Promise<Lease | undefined> {
    const { layout, self } = this.workshop;
    const progress = { blobs: [], made: 0 };
    return Lease.take(layout, keyOf(task), { owner: self, uid: task.uid }, () => Promise.resolve(progress));
  }

  /** The host that has it; undefined when none does any more. */
  async holder(task: Task): Promise<string | undefined> {
    const { layout, self } = this.workshop;
    return (await readLease(layout, keyOf(task), self))?.owner.host;
  }
}

function keyOf({ uid, words }: Task): string {
  return `sha256:${createHash('sha256').update(`for ${uid}: ${words}`).digest('hex')}`;
}
