import { native } from '../native/index.js';
import type { Caller, LaunchOrder } from './order.js';
import { checkSaveTarget } from './saved-file.js';

/** Steps that are remembered, the last ones: their ranks ask within moments. */
const MOST_STEPS = 1024;

/**
 * Looks once for each step whether its container can be saved where it says: each look is a process and a file, and where
 * a job has a /tmp of its own, every rank asks.
 */
export class SaveTargets {
  readonly #looks = new Map<string, Promise<void>>();
  /** Those that failed when the process that had asked was dead. */
  readonly #abandoned = new WeakSet<Promise<void>>();

  /**
   * @param view inode of the mount namespace in which the caller's paths are.
   * @param timeout milliseconds.
   * @throws BerthError BERTH_SAVE_TARGET
   */
  async check(order: LaunchOrder, caller: Caller, view: number, timeout: number): Promise<void> {
    const { jobId, stepId, uid, options } = order;
    const key = [jobId, stepId, uid, view, options.save].join(' ');
    for (let look = this.#looks.get(key); look; look = this.#looks.get(key)) {
      try {
        await look;
        return;
      } catch (error) {
        // It may have failed because whoever asked first had died: one who lives is to hear of that.
        if (!this.#abandoned.has(look)) throw error;
      }
    }
    await this.#look(key, order, caller, timeout);
  }

  /** The steps of a job that is requeued have the same numbers, and look anew. */
  endJob(jobId: number): void {
    for (const key of this.#looks.keys()) {
      if (key.startsWith(`${jobId} `)) this.#looks.delete(key);
    }
  }

  async #look(key: string, order: LaunchOrder, caller: Caller, timeout: number): Promise<void> {
    const look = checkSaveTarget(order, caller, timeout);
    this.#looks.set(key, look);
    const [oldest] = this.#looks.keys();
    if (this.#looks.size > MOST_STEPS && oldest !== undefined) this.#looks.delete(oldest);
    try {
      await look;
    } catch (error) {
      if (!native.isAlive(caller.pidfd)) this.#abandoned.add(look);
      this.#forget(key, look);
      throw error;
    }
  }

  #forget(key: string, look: Promise<void>): void {
    if (this.#looks.get(key) === look) this.#looks.delete(key);
  }
}
