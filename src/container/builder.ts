import { Socket } from 'node:net';
import { hostname } from 'node:os';
import { BerthError, reasonOf, systemWords } from '../errors/index.js';
import { builderExecutable, isNativeError, native, type Builder } from '../native/index.js';
import { frame, FrameReader, v1 } from '../protocol/index.js';
import { mapsSeveral } from './idmap.js';
import type { Specification } from './specification.js';

/** Longest event of the builder, in bytes. */
const EVENT_LIMIT = 8 * 1024;

/**
 * When to look whether an ended builder can be reaped, in milliseconds from one look to the next; the last is for one
 * that a hanging file system keeps from dying.
 */
const REAP_DELAYS = [1, 5, 20, 100, 500, 2000, 60_000];

/** What {@link ContainerBuilder.finish} hands on, still open: the caller pins it and closes it. */
export interface Namespaces {
  readonly mount: number;
  readonly user: number | undefined;
  /** Those of network, IPC and UTS, as far as the container has its own, in this order. */
  readonly others: readonly number[];
}

/** Closes what nobody keeps. */
export function closeNamespaces({ mount, user, others }: Namespaces): void {
  for (const fd of [...(user === undefined ? [] : [user]), mount, ...others]) native.close(fd);
}

/** Has the FUSE mount of an image served by a process that gets a duplicate of the device, which stays the caller's. */
export type Serve = (device: number) => Promise<void>;

type Events = AsyncGenerator<v1.BuildEvent, undefined>;

/** A builder that runs, or has ended and is not reaped yet. */
interface Started {
  readonly process: Builder;
  readonly socket: Socket;
  readonly events: Events;
}

/**
 * The process that puts one container together. It is started as early as can be, and works while berthd still looks
 * for the image: only the last of its work needs that.
 */
export class ContainerBuilder {
  #starting: Promise<Started> | undefined;
  #started: Started | undefined;
  #specified: Promise<void> | undefined;
  #begun: Promise<void> | undefined;
  #answer: Promise<v1.BuildEvent> | undefined;
  #user: number | undefined;
  #finished = false;
  #ended = false;

  /**
   * @param caller a pidfd of the process whose mount namespace is the starting point; stays the caller's
   * @param executable the builder
   */
  constructor(
    private readonly caller: number,
    private readonly executable = builderExecutable,
  ) {}

  /** Starts the process. Whoever calls this calls {@link end} too; a failure is {@link finish}'s to tell. */
  start(): Promise<unknown> {
    this.#starting = this.#spawn();
    this.#starting.catch(() => undefined);
    return this.#starting;
  }

  /**
   * Has the process make the container's namespaces and open what will be mounted. Resolves when the namespaces are
   * there; a failure is also {@link finish}'s.
   */
  begin(specification: Specification): Promise<void> {
    this.#begun ??= this.#enter(specification);
    return this.#begun;
  }

  /**
   * Lets the process finish and calls `keep` with the namespaces while they are still alive.
   *
   * @param image the detached image mount, which stays the caller's; or what serves the one that the builder makes
   * @param descriptors detached mounts for the specification's mounts of that kind, in their order; they stay the
   *   caller's, and can be used once
   * @param timeout in milliseconds, from now
   * @throws BerthError BERTH_BUILD_TIMEOUT, or what the builder's failing step stands for.
   */
  async finish(
    specification: Specification,
    image: number | Serve,
    descriptors: readonly number[],
    timeout: number,
    keep: (namespaces: Namespaces) => void,
  ): Promise<void> {
    const state = { late: false };
    const timer = setTimeout(() => {
      state.late = true;
      // A builder that waits for a file system may not die of it: the launch does not wait for that.
      this.end();
    }, timeout);
    try {
      const beginning = this.begin(specification);
      if (descriptors.length > 0) await this.#sendMounts(descriptors);
      await beginning;
      if (typeof image === 'number') {
        if (specification.mapsImage && this.#user !== undefined) native.idmapMount(image, this.#user);
        await this.#attach(image);
      } else {
        await this.#serve(image, specification);
      }
      this.#hand(specification, keep);
    } catch (error) {
      if (state.late) throw timedOut(timeout);
      if (error instanceof BerthError) throw error;
      throw buildFailed(reasonOf(error), error);
    } finally {
      clearTimeout(timer);
    }
  }

  /** Ends the process, where it does not do so by itself, and lets go of everything. Once. */
  end(): void {
    this.#ended = true;
    const started = this.#started;
    this.#started = undefined;
    if (!started) return;
    if (!this.#finished) native.signal(started.process.pidfd, 9);
    started.socket.destroy();
    if (this.#user !== undefined) native.close(this.#user);
    this.#user = undefined;
    void reap(started.process);
  }

  async #spawn(): Promise<Started> {
    const process = await native.spawnBuilder(this.executable, this.caller);
    const socket = new Socket({ fd: process.socket, readable: true, writable: true });
    // Whoever reads is told.
    socket.on('error', () => undefined);
    const started = { process, socket, events: eventsOf(socket) };
    this.#started = started;
    if (this.#ended) this.end();
    return started;
  }

  /** Resolves when all of the specification has been taken: descriptors go round Node's queue. */
  async #specify({ message }: Specification): Promise<void> {
    await this.#starting;
    const { socket } = this.#running();
    const bytes = frame(v1.BuildSpec.encode(message).finish());
    // A failure is told by the next event, or by its absence.
    await new Promise<void>((resolve) => socket.write(bytes, () => resolve()));
  }

  async #enter(specification: Specification): Promise<void> {
    this.#specified = this.#specify(specification);
    await this.#specified;
    await this.#next(v1.BuildEvent.Kind.KIND_NAMESPACES, specification);
    // Not of one that was ended meanwhile: nobody would close what is opened here.
    if (specification.message.userNamespace) this.#user = mapIds(this.#running().process, specification);
    this.#running().socket.write('.');
    // Waited for from now on: a failure must be read before the socket tells that its other end is gone.
    const { KIND_FUSE, KIND_BUILT } = v1.BuildEvent.Kind;
    this.#answer = this.#next(specification.message.fuse ? KIND_FUSE : KIND_BUILT, specification);
    this.#answer.catch(() => undefined);
  }

  async #attach(image: number): Promise<void> {
    await this.#sendMounts([image]);
    await this.#answer;
  }

  async #sendMounts(mounts: readonly number[]): Promise<void> {
    await this.#specified;
    const { process, socket } = this.#running();
    // What it said last tells why it has ended. Once Node has closed the socket, its number may be another's.
    if (socket.destroyed) return;
    try {
      native.sendDescriptors(process.socket, Buffer.from('.'), mounts);
    } catch (error) {
      if (!isNativeError(error, 'EPIPE')) throw error;
    }
  }

  /** Files of this mount show their true owners by themselves: it belongs to the container's user namespace. */
  async #serve(serve: Serve, specification: Specification): Promise<void> {
    const made = await this.#answer;
    if (!made) throw new Error('the builder was not begun');
    const device = native.descriptorOf(this.#running().process.pidfd, made.descriptor);
    try {
      await serve(device);
    } finally {
      native.close(device);
    }
    this.#running().socket.write('.');
    await this.#next(v1.BuildEvent.Kind.KIND_BUILT, specification);
  }

  #hand(specification: Specification, keep: (namespaces: Namespaces) => void): void {
    const { process, socket } = this.#running();
    const opened: number[] = [];
    try {
      for (const kind of ['mnt', ...othersOf(specification)] as const)
        opened.push(native.openNamespace(process.pid, process.pidfd, kind));
    } catch (error) {
      for (const fd of opened) native.close(fd);
      throw error;
    }
    const [mount = -1, ...others] = opened;
    const namespaces = { mount, user: this.#user, others };
    this.#user = undefined;
    keep(namespaces);
    socket.end('.');
    this.#finished = true;
  }

  #running(): Started {
    if (!this.#started) throw new Error('the builder was ended before the container was ready');
    return this.#started;
  }

  async #next(kind: v1.BuildEvent.Kind, specification: Specification): Promise<v1.BuildEvent> {
    const { value } = await this.#running().events.next();
    if (!value) throw buildFailed('the builder ended before the container was ready');
    if (value.kind !== kind) throw buildError(value, specification);
    return value;
  }
}

/** The kinds of {@link Namespaces.others}, in their order. */
function othersOf({ message: { unshare } }: Specification): ('net' | 'ipc' | 'uts')[] {
  return [
    ...(unshare?.network ? (['net'] as const) : []),
    ...(unshare?.ipc ? (['ipc'] as const) : []),
    ...(unshare?.hostname ? (['uts'] as const) : []),
  ];
}

async function* eventsOf(socket: Socket): Events {
  const reader = new FrameReader(EVENT_LIMIT);
  for await (const chunk of socket as AsyncIterable<Buffer>) {
    for (const bytes of reader.push(chunk)) yield v1.BuildEvent.decode(bytes);
  }
  return undefined;
}

/** Root's part in the middle of the build. Returns the user namespace. */
function mapIds(builder: Builder, specification: Specification): number {
  const user = native.openNamespace(builder.pid, builder.pidfd, 'user');
  try {
    const { uidMap, gidMap, message } = specification;
    const mayDropGroups = message.root === true && mapsSeveral(gidMap);
    native.writeIdMaps(builder.pid, builder.pidfd, uidMap, gidMap, mayDropGroups);
    return user;
  } catch (error) {
    native.close(user);
    throw identityFailed(specification, reasonOf(error), error);
  }
}

/** What a user would call the step in which the builder failed. */
function buildError(event: v1.BuildEvent, specification: Specification): BerthError {
  const why = event.reason || `${event.call}: ${event.object}: ${systemWords(event.errorNumber)}`;
  switch (event.step) {
    case v1.BuildStep.BUILD_STEP_NAMESPACE:
      if (event.call === 'unshare') return new BerthError('BERTH_NAMESPACES_FORBIDDEN', { why });
      break;
    case v1.BuildStep.BUILD_STEP_CREDENTIALS:
      return identityFailed(specification, why);
    case v1.BuildStep.BUILD_STEP_FUSE:
      return new BerthError('BERTH_FUSE_UNAVAILABLE', { host: hostname(), why });
    case v1.BuildStep.BUILD_STEP_MOUNT_SOURCE:
      return new BerthError('BERTH_MOUNT_SOURCE', { path: event.object, why });
    case v1.BuildStep.BUILD_STEP_MOUNT_DENIED:
      return new BerthError('BERTH_MOUNT_DENIED', { path: event.object, why });
    case v1.BuildStep.BUILD_STEP_WRITABLE:
      return new BerthError('BERTH_WRITABLE_DIRECTORY', { path: specification.message.writable?.directory ?? '', why });
    case v1.BuildStep.BUILD_STEP_MOUNT_DESTINATION:
      return new BerthError('BERTH_MOUNT_DESTINATION', { path: event.object, why });
    default:
  }
  return buildFailed(why);
}

function identityFailed({ message }: Specification, why: string, cause?: unknown): BerthError {
  return new BerthError('BERTH_IDENTITY', { uid: message.uid ?? 0, why }, { cause });
}

function buildFailed(why: string, cause?: unknown): BerthError {
  return new BerthError('BERTH_BUILD_FAILED', { host: hostname(), why }, { cause });
}

function timedOut(timeout: number): BerthError {
  return new BerthError('BERTH_BUILD_TIMEOUT', {
    host: hostname(),
    seconds: timeout / 1000,
    why: 'the builder was waiting for the kernel, as for a file system that does not answer',
  });
}

/** Takes the ended child off the process table. It ends by itself: our end of its socket is closed. */
async function reap(builder: Builder): Promise<void> {
  for (let look = 0; !native.reap(builder.pidfd); look++) {
    const delay = REAP_DELAYS[Math.min(look, REAP_DELAYS.length - 1)] ?? 0;
    await new Promise((resolve) => setTimeout(resolve, delay).unref());
    if (delay >= 100) native.signal(builder.pidfd, 9);
  }
  native.close(builder.pidfd);
}
