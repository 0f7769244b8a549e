import { spawn, type ChildProcess } from 'node:child_process';
import { hostname } from 'node:os';
import { setTimeout as sleep } from 'node:timers/promises';
import { findSquashfuse, ImageServer, SQUASHFUSE, SQUASHFUSE_PLACES, type ServerRecord } from '../container/index.js';
import { BerthError, systemWords } from '../errors/index.js';
import { fuseServerExecutable, native } from '../native/index.js';
import { collectMessages, lastWords, type User } from './user-process.js';

/** How long a server may take to start: milliseconds. Nothing of a user's holds it up. */
const STARTS = 10_000;

/** How long the words of a server that has ended are waited for: milliseconds. */
const LAST_WORDS = 500;

/** What the builder says of a mount whose server has ended, or has found something that is no squashfs. */
const FAULTS = ['EIO', 'ENOTCONN', 'ECONNABORTED', 'EINVAL'].map(systemWords).join('|');
const UNREADABLE = new RegExp(`^open: image: |: (${FAULTS})$`);

export interface ServedFileOrder extends User {
  readonly path: string;
  readonly nodeName: string;
}

/** A user's squashfs file that a process of theirs serves by FUSE, while a container of it is built. */
export class ServedFile {
  #starter: ChildProcess | undefined;
  #server: ImageServer | undefined;
  #messages = (): string => '';
  #kept = false;

  /**
   * @param descriptor of the file; stays the caller's, who keeps it until the container is built.
   * @param places directories in which the program is looked for.
   */
  constructor(
    private readonly order: ServedFileOrder,
    private readonly descriptor: number,
    private readonly places: readonly string[] = SQUASHFUSE_PLACES,
  ) {}

  /**
   * Starts the process.
   *
   * @throws BerthError BERTH_FUSE_UNAVAILABLE
   */
  readonly serve = async (device: number): Promise<void> => {
    const { uid, gid, gids } = this.order;
    const { ours, theirs } = native.packetPair();
    try {
      const argv = [programIn(this.places), uid, gid, ...gids].map(String);
      this.#starter = spawn(fuseServerExecutable, argv, {
        env: {},
        cwd: '/',
        stdio: ['ignore', 'ignore', 'pipe', theirs, this.descriptor, device],
      });
      this.#messages = collectMessages(this.#starter);
      const failed = new Promise<never>((_, reject) => {
        this.#starter?.once('error', (error) => {
          reject(unavailable(`${fuseServerExecutable} could not be started: ${error.message}`));
        });
      });
      failed.catch(() => undefined);
      native.close(theirs);
      const { text, descriptors } = await Promise.race([native.receivePacket(ours, STARTS), failed]);
      const [pidfd] = descriptors;
      if (pidfd === undefined) {
        await sleep(1);
        throw unavailable(lastWords(this.#messages()) ?? 'its server could not be started');
      }
      this.#server = ImageServer.of(Number(text), pidfd);
    } finally {
      native.close(ours);
    }
  };

  /** It belongs to a container now, whose end ends it. */
  keep(): ServerRecord {
    if (!this.#server) throw new Error('nothing serves the file');
    this.#kept = true;
    return this.#server.record;
  }

  /** Lets go of it: it ends, unless it was kept. */
  release(): void {
    this.#starter?.stderr?.destroy();
    if (this.#kept) this.#server?.release();
    else void this.#server?.end(0);
    this.#server = undefined;
  }

  /** What a user can do something about, where the build failed because of the file. */
  async explain(error: unknown): Promise<unknown> {
    if (!(error instanceof BerthError) || !this.#server || !UNREADABLE.test(error.why)) return error;
    for (const end = performance.now() + LAST_WORDS; this.#server.isRunning && performance.now() < end;)
      await sleep(10);
    const { path, nodeName } = this.order;
    const words = lastWords(this.#messages());
    // It is not even squashfuse that has failed.
    if (words?.startsWith('berth-fuse-server: ')) return unavailable(words);
    const why = words ?? 'squashfuse cannot read it: it is damaged, or no squashfs file';
    return new BerthError('BERTH_FILE_UNUSABLE', { path, host: nodeName || hostname(), why }, { cause: error });
  }
}

/** @throws BerthError BERTH_FUSE_UNAVAILABLE */
function programIn(places: readonly string[]): string {
  const path = findSquashfuse(places);
  if (path === undefined) throw unavailable(`${SQUASHFUSE} is not installed: it is not in ${places.join(', ')}`);
  return path;
}

function unavailable(why: string): BerthError {
  return new BerthError('BERTH_FUSE_UNAVAILABLE', { host: hostname(), why });
}
