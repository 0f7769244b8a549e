import { hostname } from 'node:os';
import { BerthError, reasonOf, systemWords } from '../errors/index.js';
import { native } from '../native/index.js';
import { frame, v1 } from '../protocol/index.js';
import type { BuilderProcess } from './builder-process.js';
import { Builders } from './builders.js';
import { mapsSeveral } from './idmap.js';
import type { Specification } from './specification.js';

/** What the builder waits for at each of its stations, and what descriptors come with. */
const GO_ON = Buffer.from('.');

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

/** What berthd does of its own while a container is built. */
export interface WhileBuilding {
  readonly meanwhile?: () => void;
  readonly examine?: (process: BuilderProcess) => Promise<void>;
}

/** Has the FUSE mount of an image served by a process that gets a duplicate of the device, which stays the caller's. */
export type Serve = (device: number) => Promise<void>;

/**
 * The process that puts one container together. It is taken as early as can be, and works while berthd still looks
 * for the image: only the last of its work needs that.
 */
export class ContainerBuilder {
  #starting: Promise<BuilderProcess> | undefined;
  #started: BuilderProcess | undefined;
  #specified: Promise<void> | undefined;
  #begun: Promise<void> | undefined;
  #answer: Promise<v1.BuildEvent> | undefined;
  #user: number | undefined;
  #finished = false;
  #ended = false;

  /**
   * @param caller a pidfd of the process whose mount namespace is the starting point; stays the caller's
   * @param builders where the process comes from
   */
  constructor(
    private readonly caller: number,
    private readonly builders = new Builders(),
  ) {}

  /** Takes a process. Whoever calls this calls {@link end} too; a failure is {@link finish}'s to tell. */
  start(): Promise<unknown> {
    this.#starting = this.#take();
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
   * @param meanwhile is called while the process does the last of its work
   * @param examine is called with the process when it is in the finished container, and waited for
   * @throws BerthError BERTH_BUILD_TIMEOUT, or what the builder's failing step stands for.
   */
  async finish(
    specification: Specification,
    image: number | Serve,
    descriptors: readonly number[],
    timeout: number,
    keep: (namespaces: Namespaces) => void,
    { meanwhile, examine }: WhileBuilding = {},
  ): Promise<void> {
    const state = { late: false };
    const timer = setTimeout(() => {
      state.late = true;
      // A builder that waits for a file system may not die of it: the launch does not wait for that.
      this.end();
    }, timeout);
    try {
      const beginning = this.begin(specification);
      beginning.catch(() => undefined);
      if (descriptors.length > 0) await this.#sendMounts(descriptors);
      await beginning;
      if (typeof image === 'number') {
        if (specification.mapsImage && this.#user !== undefined) native.idmapMount(image, this.#user);
        await this.#attach(image, meanwhile);
      } else {
        await this.#serve(image, specification);
      }
      await examine?.(this.#running());
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
    started.end(this.#finished);
    if (this.#user !== undefined) native.close(this.#user);
    this.#user = undefined;
  }

  async #take(): Promise<BuilderProcess> {
    const taken = await this.builders.take();
    this.#started = taken;
    if (this.#ended) this.end();
    return taken;
  }

  /** Tells the process whose mount namespace is the starting point, and then what to build. */
  async #specify({ message }: Specification): Promise<void> {
    await this.#starting;
    const specification = frame(v1.BuildSpec.encode(message).finish());
    await this.#running().send(Buffer.concat([GO_ON, specification]), [this.caller]);
  }

  async #enter(specification: Specification): Promise<void> {
    this.#specified = this.#specify(specification);
    await this.#specified;
    await this.#next(v1.BuildEvent.Kind.KIND_NAMESPACES, specification);
    // Not of one that was ended meanwhile: nobody would close what is opened here.
    if (specification.message.userNamespace) this.#user = mapIds(this.#running(), specification);
    await this.#running().send(GO_ON);
    // Waited for from now on: a failure must be read before the socket tells that its other end is gone.
    const { KIND_FUSE, KIND_BUILT } = v1.BuildEvent.Kind;
    this.#answer = this.#next(specification.message.fuse ? KIND_FUSE : KIND_BUILT, specification);
    this.#answer.catch(() => undefined);
  }

  async #attach(image: number, meanwhile: () => void = () => undefined): Promise<void> {
    await this.#sendMounts([image]);
    meanwhile();
    await this.#answer;
  }

  async #sendMounts(mounts: readonly number[]): Promise<void> {
    await this.#specified;
    await this.#running().send(GO_ON, mounts);
  }

  /** Files of this mount show their true owners by themselves: it belongs to the container's user namespace. */
  async #serve(serve: Serve, specification: Specification): Promise<void> {
    const made = await this.#answer;
    if (!made) throw new Error('the builder was not begun');
    const device = native.descriptorOf(this.#running().pidfd, made.descriptor);
    try {
      await serve(device);
    } finally {
      native.close(device);
    }
    await this.#running().send(GO_ON);
    await this.#next(v1.BuildEvent.Kind.KIND_BUILT, specification);
  }

  #hand(specification: Specification, keep: (namespaces: Namespaces) => void): void {
    const process = this.#running();
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
    this.#finished = true;
    // It ends by itself now, and nobody waits for that.
    void process.send(GO_ON);
  }

  #running(): BuilderProcess {
    if (!this.#started) throw new Error('the builder was ended before the container was ready');
    return this.#started;
  }

  async #next(kind: v1.BuildEvent.Kind, specification: Specification): Promise<v1.BuildEvent> {
    const event = await this.#running().next();
    if (!event) throw buildFailed('the builder ended before the container was ready');
    if (event.kind !== kind) throw buildError(event, specification);
    return event;
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

/** Root's part in the middle of the build. Returns the user namespace. */
function mapIds(builder: BuilderProcess, specification: Specification): number {
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
