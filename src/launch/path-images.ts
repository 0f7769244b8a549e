import type { ChildProcess } from 'node:child_process';
import { read } from 'node:fs';
import { hostname } from 'node:os';
import { promisify } from 'node:util';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Config } from '../config/index.js';
import { BerthError } from '../errors/index.js';
import type { FileImages, ImageRecord, Task, Turns, UserFile } from '../image/index.js';
import { native } from '../native/index.js';
import type { Caller, FoundFile } from './order.js';
import { closeAside, openAsUser, OpenDenied, OpenFault, type OpenedByUser } from './opener.js';
import { SharedOpenings } from './shared-openings.js';
import { SharedWork, type Work } from './shared-work.js';
import { waitForTurn } from './turn.js';
import {
  berthCommand,
  collectMessages,
  endOf,
  endOnAbort,
  spawnAs,
  tellRegularly,
  toldBy,
  type User,
  type Waiter,
  whyEnded,
} from './user-process.js';

/** Steps that a file was opened for, remembered so that all of their ranks get the same: the last ones. */
const MOST_STEPS = 1024;

/**
 * A file that was changed less than this ago may be changed again without its times showing it: file systems count them
 * in ticks of up to two seconds. Milliseconds.
 */
const TICK = 2000;

/** How often such a file is looked at again. */
const LOOKS = 3;

/** How long the words of a reader that ends are waited for: milliseconds. */
const LAST_WORDS = 2000;

const readFromFile = promisify(read);

/** What a reader exits with when what it writes to was closed: the converter has its own reason. */
const READER_GONE = 141;

/** What is asked for: a launch's image, or a volume of its container. */
export interface WantedFile extends User {
  readonly jobId: number;
  readonly stepId: number;
  readonly nodeName: string;
  /** The path. */
  readonly image: string;
  /** Then it is a squashfs file, and where it may lie is the site's to say. */
  readonly isVolume?: boolean;
}

export interface FileOrder extends User {
  readonly path: string;
  readonly identity: string;
  readonly nodeName: string;
}

/** The ranks of a step that wait for the same file, and what it is; kept for those that come later. */
interface Step {
  readonly waiters: Set<Waiter>;
  readonly result: Promise<FoundFile>;
  /** Nobody waits any more. */
  readonly leave: () => void;
}

/**
 * Files that stand in an image's place (`--image=./app.sqsh`): what the site has said becomes of them. The file is opened
 * once for a step on each node, so that all ranks have the same; an image of it is made once for all who wait.
 */
export class PathImages {
  readonly #steps = new Map<string, Step>();
  readonly #openings = new SharedOpenings();
  readonly #making = new SharedWork<ImageRecord>();

  /** @param command what runs `berth`, with its arguments up to the command's name. */
  constructor(
    private readonly config: Config,
    private readonly files: FileImages,
    private readonly turns: Turns,
    private readonly command: readonly string[] = berthCommand,
  ) {}

  /**
   * What a launch whose image is a path is to run. Whoever has a descriptor of it closes that.
   *
   * @param namespace inode of the caller's mount namespace.
   * @throws BerthError BERTH_FILE_REFUSED, BERTH_FILE_UNUSABLE, BERTH_FILE_CHANGED, BERTH_IMPORT_FAILED,
   * BERTH_STORE_FULL, BERTH_STORE_UNUSABLE
   */
  async find(order: WantedFile, caller: Caller, namespace: number, waiter: Waiter): Promise<FoundFile> {
    const { image: path, isVolume = false } = order;
    const { files } = this.config.store;
    if (files === 'refuse') throw new BerthError('BERTH_FILE_REFUSED', { path, host: nodeOf(order) });
    const key = [order.jobId, order.stepId, order.uid, namespace, isVolume, path].join(' ');
    if (files === 'mount-unsafely' || files === 'fuse') {
      const { identity, descriptor } = await this.#openings.get(key, caller, () => this.#open(order, caller));
      return { image: `file ${identity}`, path, descriptor };
    }
    const step = this.#steps.get(key) ?? this.#begin(key, order, caller);
    step.waiters.add(waiter);
    waiter.tell('');
    try {
      return await Promise.race([step.result, leaving(waiter, order)]);
    } finally {
      step.waiters.delete(waiter);
      if (step.waiters.size === 0) step.leave();
    }
  }

  /** The steps of a job that is requeued have the same numbers, and have their files found anew. */
  endJob(jobId: number): void {
    for (const key of this.#steps.keys()) {
      if (key.startsWith(`${jobId} `)) this.#steps.delete(key);
    }
  }

  /** Finds the file for all ranks of a step. */
  #begin(key: string, order: WantedFile, caller: Caller): Step {
    const waiters = new Set<Waiter>();
    let leave = (): void => undefined;
    const gone = new Promise<void>((resolve) => {
      leave = resolve;
    });
    const tell = (text: string): void => {
      for (const waiter of waiters) waiter.tell(text);
    };
    const step: Step = { waiters, leave, result: this.#image(order, caller, { gone, tell }) };
    this.#steps.set(key, step);
    step.result.catch(() => this.#steps.delete(key));
    const [oldest] = this.#steps.keys();
    if (this.#steps.size > MOST_STEPS && oldest !== undefined) this.#steps.delete(oldest);
    return step;
  }

  async #open(order: WantedFile, caller: Caller): Promise<OpenedByUser> {
    const { image: path, isVolume = false } = order;
    const timeout = this.config.container.buildTimeout * 1000;
    try {
      const policy = isVolume ? this.config.volumes : undefined;
      const opened = await openAsUser(order, path, caller.mountNamespace ?? caller.pidfd, timeout, policy);
      if (!isVolume || (await isSquashfs(opened.descriptor))) return opened;
      closeAside(opened.descriptor);
      throw new OpenFault('it is no squashfs file');
    } catch (error) {
      if (error instanceof OpenDenied) throw new BerthError('BERTH_MOUNT_DENIED', { path, why: error.message });
      if (!(error instanceof OpenFault)) throw error;
      throw unusable(path, order, error.message);
    }
  }

  async #image(order: WantedFile, caller: Caller, waiter: Waiter): Promise<FoundFile> {
    const path = order.image;
    let opened = await this.#open(order, caller);
    try {
      const file = { uid: order.uid, path, identity: opened.identity };
      const known = await this.files.find(file);
      if (known) return { image: known.digest, path };
      opened = await this.#settled(opened, () => this.#open(order, caller));
      const record = await this.#made(order, path, opened, waiter);
      return { image: record.digest, path };
    } finally {
      closeAside(opened.descriptor);
    }
  }

  /** Waits until a change from now on would show in the file's times. */
  async #settled(first: OpenedByUser, again: () => Promise<OpenedByUser>): Promise<OpenedByUser> {
    let opened = first;
    for (let look = 0; look < LOOKS && isFresh(opened); look++) {
      await sleep(Math.min(TICK, opened.changed + TICK - Date.now()));
      const next = await again();
      closeAside(opened.descriptor);
      opened = next;
    }
    return opened;
  }

  async #made(order: WantedFile, path: string, opened: OpenedByUser, waiter: Waiter): Promise<ImageRecord> {
    const { uid, gid, gids, nodeName } = order;
    const key = `${uid} ${opened.identity}`;
    const fileOrder: FileOrder = { uid, gid, gids, nodeName, path, identity: opened.identity };
    let making: Promise<ImageRecord> | undefined;
    const make: Work<ImageRecord> = (waiters, stopped) => (making = this.#run(fileOrder, opened, waiters, stopped));
    try {
      return await this.#making.join(key, uid, waiter, make, {
        left: () => left(order),
        tooMany: (others) => unusable(path, order, `images of ${others} other files are being made for you`),
      });
    } finally {
      // Until then it reads from the descriptor that this launch has opened.
      await making?.catch(() => undefined);
    }
  }

  async #run(
    order: FileOrder,
    opened: OpenedByUser,
    waiters: ReadonlySet<Waiter>,
    stopped: AbortSignal,
  ): Promise<ImageRecord> {
    const state = { text: '' };
    const name = `${nodeOf(order)}: making an image of ${order.path}`;
    const stopTelling = tellRegularly((inWords) => {
      const text = state.text === '' ? name : `${name}: ${state.text}`;
      for (const waiter of waiters) waiter.tell(inWords ? text : '');
    });
    const limit = AbortSignal.timeout(this.config.store.pullTimeout * 1000);
    try {
      const turn = await waitForTurn(this.turns, taskOf(order), {
        find: () => this.files.find(order),
        held: ({ host, words }) => (state.text = words === '' ? `${host} does` : `${host} does, ${words}`),
        tells: () => state.text,
        signal: AbortSignal.any([limit, stopped]),
      });
      state.text = '';
      if ('result' in turn) return turn.result;
      try {
        return await this.#convert(order, opened, state, stopped);
      } finally {
        await turn.lease.release();
      }
    } catch (error) {
      throw limit.aborted && isAbort(error) ? this.#tooLong(order) : error;
    } finally {
      stopTelling();
    }
  }

  #tooLong(order: FileOrder): BerthError {
    const why = `it took longer than ${this.config.store.pullTimeout} s ([store] pull_timeout)`;
    return unusable(order.path, order, why);
  }

  /** Has the user's process read the file, and the converter make an image of what that writes. */
  async #convert(
    order: FileOrder,
    opened: OpenedByUser,
    state: { text: string },
    stopped: AbortSignal,
  ): Promise<ImageRecord> {
    const argv = [...this.command, 'archive', order.path, opened.state];
    const pipe = native.pipe();
    let child: ChildProcess;
    try {
      child = await spawnAs(order, argv, [opened.descriptor, pipe.writeEnd, 'pipe', 'pipe']);
    } catch (error) {
      native.close(pipe.readEnd);
      throw error;
    } finally {
      native.close(pipe.writeEnd);
    }
    const seconds = this.config.store.pullTimeout;
    const late = new AbortController();
    const limit = setTimeout(() => late.abort(), seconds * 1000);
    const gone = new AbortController();
    const stopEnding = endOnAbort(child, [late.signal, stopped, gone.signal]);
    const messages = collectMessages(child);
    listen(child, state);
    const ended = endOf(child);
    let fault: Error | undefined;
    const complete = ended.then((status) => {
      if (status === 0) return undefined;
      // The converter stops reading where it has found something wrong, and will say what.
      if (status === READER_GONE) return new Promise<never>(() => undefined);
      const why = whyEnded('reading it', child, messages(), status);
      fault = late.signal.aborted
        ? this.#tooLong(order)
        : (toldBy(messages(), status) ?? unusable(order.path, order, why));
      throw fault;
    });
    try {
      const file: UserFile = { uid: order.uid, path: order.path, identity: order.identity };
      return await this.files.make(file, pipe.readEnd, complete, !isFresh(opened));
    } catch (error) {
      // An archive that is cut short fails the converter before its reader has told why.
      await Promise.race([ended, sleep(LAST_WORDS)]);
      throw fault ?? error;
    } finally {
      clearTimeout(limit);
      gone.abort();
      await ended;
      stopEnding();
    }
  }
}

/** The same on all nodes with the store. */
function taskOf({ uid, identity }: FileOrder): Task {
  return { uid, words: `image of the file ${identity}` };
}

function isAbort(error: unknown): boolean {
  return error instanceof Error && error.name === 'AbortError';
}

/** Rejects when the waiter goes. */
function leaving(waiter: Waiter, order: WantedFile): Promise<never> {
  const gone = waiter.gone.then(() => {
    throw left(order);
  });
  gone.catch(() => undefined);
  return gone;
}

function left(order: WantedFile): BerthError {
  return unusable(order.image, order, 'whoever waited for it is gone');
}

/** By its first bytes, as every squashfs file of version 4 has them. */
async function isSquashfs(descriptor: number): Promise<boolean> {
  const { bytesRead, buffer } = await readFromFile(descriptor, Buffer.alloc(4), 0, 4, 0);
  return bytesRead === 4 && buffer.toString('latin1') === 'hsqs';
}

/** Might it be changed now without its times showing it? */
function isFresh({ changed }: OpenedByUser): boolean {
  return Date.now() - changed < TICK;
}

function listen(child: ChildProcess, state: { text: string }): void {
  const lines = child.stdio[3];
  if (!lines || !('setEncoding' in lines)) return;
  lines.setEncoding('utf8').on('data', (text: string) => {
    const bytes = /^\{"bytes":(\d{1,15})\}\n/m.exec(text)?.[1];
    if (bytes !== undefined) state.text = `${(Number(bytes) / 1e6).toFixed(0)} MB read`;
  });
}

function nodeOf({ nodeName }: { readonly nodeName: string }): string {
  return nodeName || hostname();
}

function unusable(path: string, order: { readonly nodeName: string }, why: string): BerthError {
  return new BerthError('BERTH_FILE_UNUSABLE', { path, host: nodeOf(order), why });
}
