import { native } from '../native/index.js';
import { openProcess, startOf, type ProcessRecord } from './process-record.js';

/** How long a server may take to end by itself once nothing needs it: milliseconds. */
const GRACE = 3000;

/** How often to look meanwhile: milliseconds. */
const LOOK = 100;

/** Which process serves a container's image. */
export type ServerRecord = ProcessRecord;

/**
 * The process that serves a container's FUSE mount. It is nobody's child, and ends by itself when the mount goes: with the
 * container's pin and its last process. Its user may stop it or have it do something else, though, so it is ended too.
 */
export class ImageServer {
  readonly #pidfd: number;

  /** @param pidfd of this process; its own from now on. */
  constructor(
    readonly record: ServerRecord,
    pidfd: number,
  ) {
    this.#pidfd = pidfd;
  }

  /** Another's word for it, if that process still runs. */
  static adopt(record: ServerRecord): ImageServer | undefined {
    const pidfd = openProcess(record);
    return pidfd === undefined ? undefined : new ImageServer(record, pidfd);
  }

  /** @param pidfd of the process with that number; its own from now on. */
  static of(pid: number, pidfd: number): ImageServer {
    return new ImageServer({ pid, started: startOf(pid) ?? 0 }, pidfd);
  }

  get isRunning(): boolean {
    return !native.hasEnded(this.#pidfd);
  }

  /** Nothing needs it any more. With it goes all that its user had it start: it is the first of its process namespace. */
  async end(grace = GRACE): Promise<void> {
    const deadline = performance.now() + grace;
    while (this.isRunning && performance.now() < deadline) {
      await new Promise((resolve) => setTimeout(resolve, LOOK));
    }
    native.signal(this.#pidfd, 9);
    this.release();
  }

  /** Forgets it. */
  release(): void {
    native.close(this.#pidfd);
  }
}
