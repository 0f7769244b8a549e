import type { Logger } from 'pino';
import type { Container, Registry } from '../container/index.js';
import { reasonOf } from '../errors/index.js';
import type { ImageStore } from '../image/index.js';

/**
 * Tells the store, which other nodes may share, what this node's jobs have mounted, so that it is not collected. Nobody
 * waits for that: a launch has its answer before, and a store that fails is in the log.
 */
export class Uses {
  readonly #digests = new Map<number, Set<string>>();
  /** One after the other, or a job's end could overtake its beginning. */
  #work: Promise<void> = Promise.resolve();

  constructor(
    private readonly registry: Registry,
    private readonly store: ImageStore,
    private readonly log: Logger,
  ) {}

  /** berthd has started: what the store has of this node may be of jobs that ended without it. */
  atStart(): void {
    const stays = new Map<string, Set<number>>();
    for (const container of this.registry.all()) {
      const { jobId } = container;
      for (const digest of imagesOf(container)) {
        stays.set(digest, (stays.get(digest) ?? new Set()).add(jobId));
        this.#of(jobId).add(digest);
      }
    }
    this.#enqueue(async () => {
      await this.store.forgetUses(stays);
    });
  }

  /** A container was built. */
  begin(container: Container): void {
    const { jobId } = container;
    for (const digest of imagesOf(container)) {
      this.#of(jobId).add(digest);
      this.#enqueue(() => this.store.use(digest, jobId));
    }
  }

  /** A container that belonged to no job is gone. */
  endOne({ digest }: Container): void {
    const isUsed = this.registry.all().some((other) => other.jobId === 0 && other.digest === digest);
    if (isUsed || !this.#digests.get(0)?.delete(digest)) return;
    this.#enqueue(() => this.store.unuse(digest, 0));
  }

  /** A job's containers are gone. */
  end(jobId: number): void {
    const digests = this.#digests.get(jobId);
    if (!digests) return;
    this.#digests.delete(jobId);
    for (const digest of digests) this.#enqueue(() => this.store.unuse(digest, jobId));
  }

  #of(jobId: number): Set<string> {
    const digests = this.#digests.get(jobId) ?? new Set<string>();
    this.#digests.set(jobId, digests);
    return digests;
  }

  #enqueue(work: () => Promise<void>): void {
    this.#work = this.#work.then(work).catch((error: unknown) => {
      this.log.warn({ reason: reasonOf(error) }, 'the store could not be told which images are in use');
    });
  }
}

/** Its own, and those that its volumes are. */
function imagesOf({ digest, volumes = [] }: Container): string[] {
  return [digest, ...volumes];
}
