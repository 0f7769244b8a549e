import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { native } from '../native/index.js';

/** How long berthd has to have nothing to do, in milliseconds. */
const QUIET = 5_000;

/**
 * Gives the memory that launches took back to the node's jobs, once, when there have been none for a while. V8 does so
 * by itself only under pressure, or in several steps over a minute, each of which wakes the process up.
 */
export class Tidier {
  readonly #collect: (options?: { readonly type: 'minor' }) => void;
  #timer: NodeJS.Timeout | undefined;

  constructor() {
    setFlagsFromString('--expose-gc');
    this.#collect = runInNewContext('gc') as (options?: { readonly type: 'minor' }) => void;
  }

  /** Something was done: the time of quiet begins anew. */
  busy(): void {
    if (this.#timer) this.#timer.refresh();
    else this.#timer = setTimeout(() => this.#tidy(), QUIET);
  }

  #tidy(): void {
    this.#timer = undefined;
    // V8 leaves pages of its heap half empty unless told otherwise: a MiB of berthd's.
    setFlagsFromString('--compact-on-every-full-gc');
    this.#collect();
    setFlagsFromString('--no-compact-on-every-full-gc');
    // A collection leaves the memory of buffers to a thread, which can be late; the next one waits for it.
    this.#collect({ type: 'minor' });
    native.trimMemory();
  }
}
