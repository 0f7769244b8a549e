import { createHash } from 'node:crypto';
import { Lease, readLease } from './lease.js';
import type { Workshop } from './workshop.js';

/** What is being pulled by nodes, and for whom. */
export interface Pulled {
  readonly uid: number;
  /** As the launch has it. */
  readonly reference: string;
}

/**
 * Of all nodes with this store that launch the same missing image for the same user, one asks the registry. As any lease,
 * this saves work and nothing depends on it.
 */
export class PullTurns {
  constructor(private readonly workshop: Workshop) {}

  /** The turn to pull, unless another node has it. */
  take(pulled: Pulled): Promise<Lease | undefined> {
    const { layout, self } = this.workshop;
    const progress = { blobs: [], made: 0 };
    return Lease.take(layout, keyOf(pulled), { owner: self, uid: pulled.uid }, () => Promise.resolve(progress));
  }

  /** The host that has it; undefined when none does any more. */
  async holder(pulled: Pulled): Promise<string | undefined> {
    const { layout, self } = this.workshop;
    return (await readLease(layout, keyOf(pulled), self))?.owner.host;
  }
}

function keyOf({ uid, reference }: Pulled): string {
  return `sha256:${createHash('sha256').update(`pull for ${uid} of ${reference}`).digest('hex')}`;
}
