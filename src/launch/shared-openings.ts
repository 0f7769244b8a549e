import { native } from '../native/index.js';
import { closeAside, type OpenedByUser } from './opener.js';
import type { Caller } from './order.js';

/** How long an opened file is kept for others after the last who asked for it: milliseconds. */
const KEPT = 2000;

interface Opening {
  readonly opened: Promise<OpenedByUser>;
  /** Did it fail after the process for which it was opened had died? */
  abandoned: boolean;
  /** Ends what is kept. */
  timer: NodeJS.Timeout | undefined;
}

/** Opens each file once for all ranks that ask about the same time: each opening is a process. */
export class SharedOpenings {
  readonly #openings = new Map<string, Opening>();

  /**
   * What was opened under this key, with a descriptor of one's own.
   *
   * @param key whose file it is, and in what view of the host
   * @throws what `open` does, for whoever asked first
   */
  async get(key: string, caller: Caller, open: () => Promise<OpenedByUser>): Promise<OpenedByUser> {
    for (let shared = this.#openings.get(key); shared; shared = this.#openings.get(key)) {
      try {
        return this.#use(key, shared, await shared.opened);
      } catch (error) {
        this.#forget(key, shared);
        // Whoever had it opened is dead, and it failed because of that: the next one takes it up.
        if (!shared.abandoned) throw error;
      }
    }
    const opening = begin(caller, open);
    this.#openings.set(key, opening);
    try {
      return this.#use(key, opening, await opening.opened);
    } catch (error) {
      this.#forget(key, opening);
      throw error;
    }
  }

  #use(key: string, opening: Opening, opened: OpenedByUser): OpenedByUser {
    const descriptor = native.duplicate(opened.descriptor);
    clearTimeout(opening.timer);
    opening.timer = setTimeout(() => {
      this.#forget(key, opening);
      closeAside(opened.descriptor);
    }, KEPT);
    opening.timer.unref();
    return { ...opened, descriptor };
  }

  #forget(key: string, opening: Opening): void {
    if (this.#openings.get(key) === opening) this.#openings.delete(key);
  }
}

function begin(caller: Caller, open: () => Promise<OpenedByUser>): Opening {
  const opening: Opening = {
    abandoned: false,
    timer: undefined,
    opened: open().catch((error: unknown) => {
      opening.abandoned = !native.isAlive(caller.pidfd);
      throw error;
    }),
  };
  return opening;
}
