import type { Logger } from 'pino';
import {
  occupants,
  openProcess,
  startOf,
  type Container,
  type ProcessRecord,
  type Registry,
} from '../container/index.js';
import { reasonOf } from '../errors/index.js';
import { native } from '../native/index.js';
import type { Caller } from './order.js';

/**
 * Lets go of containers that belong to no job when the processes that asked for them have ended. These became the programs
 * inside, so a container lasts as long as they do; nothing but the kernel says when that is, and whether berthd was there
 * all the time makes no difference.
 */
export class Holders {
  /** @param ended is called for each container that was let go of */
  constructor(
    private readonly registry: Registry,
    private readonly ended: (container: Container) => void,
    private readonly log: Logger,
  ) {}

  /**
   * Has a container last for this process too.
   *
   * @returns false when the container, or the process, is gone already
   */
  hold(container: Container, { pid, pidfd }: Pick<Caller, 'pid' | 'pidfd'>): boolean {
    if (!this.registry.has(container)) return false;
    const started = startOf(pid);
    // What was read is of this process only if it is still there.
    if (started === undefined || native.hasEnded(pidfd)) {
      this.#endUnlessHeld(container);
      return false;
    }
    this.#watch(container, { pid, started }, pidfd);
    return true;
  }

  /** Takes over what an earlier berthd left: what nobody holds any more lasts for the processes that are inside. */
  async atStart(): Promise<void> {
    const orphans = this.registry.all().filter((container) => container.jobId === 0 && !this.#adopt(container));
    if (orphans.length === 0) return;
    const inside = await occupants(orphans.map(({ mntns }) => mntns));
    for (const container of orphans) {
      for (const pid of inside.get(container.mntns)?.pids ?? []) {
        const started = startOf(pid);
        if (started !== undefined) this.#adoptOne(container, { pid, started });
      }
      this.#endUnlessHeld(container);
    }
  }

  /** @returns false when none of its holders is there any more */
  #adopt(container: Container): boolean {
    const { holders } = container;
    container.holders = [];
    return holders.filter((holder) => this.#adoptOne(container, holder)).length > 0;
  }

  #adoptOne(container: Container, holder: ProcessRecord): boolean {
    const pidfd = openProcess(holder);
    if (pidfd === undefined) return false;
    this.#watch(container, holder, pidfd);
    native.close(pidfd);
    return true;
  }

  #watch(container: Container, holder: ProcessRecord, pidfd: number): void {
    // One that asks twice is watched once.
    if (container.holders.some(({ pid, started }) => pid === holder.pid && started === holder.started)) return;
    this.registry.hold(container, [...container.holders, holder]);
    native
      .whenEnded(pidfd)
      .then(() => {
        if (!this.registry.has(container)) return;
        const rest = container.holders.filter((other) => other !== holder);
        if (rest.length > 0) this.registry.hold(container, rest);
        else this.#end(container);
      })
      .catch((error: unknown) => {
        this.log.error({ container: container.id, reason: reasonOf(error) }, 'the end of a run was not noticed');
      });
  }

  #endUnlessHeld(container: Container): void {
    if (container.holders.length === 0 && this.registry.has(container)) this.#end(container);
  }

  #end(container: Container): void {
    this.registry.end(container);
    this.ended(container);
    this.log.info({ uid: container.uid, container: container.id }, 'run ended');
  }
}
