import type { Config } from '../config/index.js';
import { containerKey, remember, type Builders, type Container, type Registry } from '../container/index.js';
import { BerthError } from '../errors/index.js';
import type { ImageStore } from '../image/index.js';
import { AskedTooEarly } from '../modules/index.js';
import { isNativeError, native } from '../native/index.js';
import type { v1 } from '../protocol/index.js';
import { Construction, type LaunchUnderWay } from './construction.js';
import type { Designer } from './designer.js';
import { checkNameOf, checkNewName } from './named.js';
import type { Caller, LaunchOrder } from './order.js';
import { SaveTargets } from './save-targets.js';
import { Timeline } from './timeline.js';
import { cacheSizeOf, checkCacheSize, preparesVolumes } from './volumes.js';
import { checkWritableDirectory, writableDirectoryOf } from './writable-directory.js';

/** Containers that one job, or one user without a job, may have on a node: pins take kernel memory that all users share. */
const MOST_PER_JOB = 64;

export interface Launched {
  readonly container: Container;
  /** What `berth ps --timeline` shows; ranks are added as they report. */
  readonly launch: v1.Launch.$Properties & { ranks: v1.RankJoined.$Properties[] };
  readonly timeline: Timeline;
  readonly cold: boolean;
}

/** A build under way. Ending its job has it thrown away when it is ready. */
interface Build {
  readonly jobId: number;
  /** Of its caches, in MiB. */
  readonly cacheSize: number;
  readonly uid: number;
  readonly writableDirectory: string | undefined;
  readonly result: Promise<Container>;
  ended: boolean;
  /** Did it fail after the process that asked for it had died, or because that asked too early? */
  abandoned: boolean;
}

/** Gives each launch its container: one that is there, one that is being built, or a new one. */
export class Launcher {
  readonly #builds = new Map<string, Build>();
  readonly #construction: Construction;
  readonly #saveTargets = new SaveTargets();
  /** The mount namespace of slurmstepd on this node, and whether ranks turned out to have others. */
  #stepMntns: number | undefined;
  #ranksElsewhere = false;

  constructor(
    private readonly config: Config,
    store: ImageStore,
    private readonly registry: Registry,
    designer: Designer,
    builders?: Builders,
  ) {
    this.#construction = new Construction(config, store, registry, designer, builders);
  }

  /**
   * The container for slurmstepd, which asks before there are ranks. With a job_container or namespace plugin the ranks
   * will see other directories than slurmstepd does; where that was noticed, nothing is built here, and what the job's
   * ranks use already is handed out. So too with volumes whose files are the ranks' to see, and where it depends on the
   * job's devices what the container has.
   *
   * @throws BerthError as {@link launch}
   */
  async launchStep(order: LaunchOrder, caller: Caller): Promise<Launched | undefined> {
    const request = this.#request(order, caller, true);
    this.#stepMntns = request.originMntns;
    if (!this.#ranksElsewhere && !preparesVolumes(order.options)) return this.#launchEarly(request);
    const ready = this.registry
      .all()
      .find((container) => containerKey(container) === keyOf(order, container.originMntns));
    if (ready) await this.#checkAccess(ready, request);
    return ready && this.#launched(ready, request, false);
  }

  /**
   * The container for a job that has not begun; undefined where the first rank has to be waited for.
   *
   * @throws BerthError as {@link launch}
   */
  async prepare(order: LaunchOrder, caller: Caller): Promise<Launched | undefined> {
    return this.#launchEarly(this.#request(order, caller, true));
  }

  /**
   * The container for a rank that asks for itself.
   *
   * @throws BerthError as {@link launch}
   */
  async launchRank(order: LaunchOrder, caller: Caller): Promise<Launched> {
    const request = this.#request(order, caller);
    if (this.#stepMntns !== undefined) {
      this.#ranksElsewhere = request.originMntns !== this.#stepMntns;
      const early = this.#ranksElsewhere && this.registry.byKey(keyOf(order, this.#stepMntns));
      if (early) this.registry.end(early);
    }
    return this.#launch(request);
  }

  /**
   * @throws BerthError whatever keeps the container from being built; BERTH_JOB_ENDED when the caller or its job is
   * gone.
   */
  async launch(order: LaunchOrder, caller: Caller): Promise<Launched> {
    return this.#launch(this.#request(order, caller));
  }

  /**
   * Is there a container for such a launch already?
   *
   * @param originMntns inode of the caller's mount namespace
   */
  isReady(order: LaunchOrder, originMntns: number): boolean {
    return this.registry.byKey(keyOf(order, originMntns)) !== undefined;
  }

  /** Lets go of all containers of a job. Returns how many. */
  endJob(jobId: number): number {
    this.#saveTargets.endJob(jobId);
    for (const build of this.#builds.values()) {
      if (build.jobId === jobId) build.ended = true;
    }
    const containers = this.#containersOf(jobId);
    for (const container of containers) this.registry.end(container);
    return containers.length;
  }

  #request(order: LaunchOrder, caller: Caller, isEarly = false): LaunchUnderWay {
    const timeline = new Timeline();
    return { order, caller, timeline, originMntns: this.mountNamespaceOf(caller, order), isEarly };
  }

  async #launchEarly(request: LaunchUnderWay): Promise<Launched | undefined> {
    try {
      return await this.#launch(request);
    } catch (error) {
      if (error instanceof AskedTooEarly) return undefined;
      throw error;
    }
  }

  async #launch(request: LaunchUnderWay): Promise<Launched> {
    const { order, timeline } = request;
    const key = keyOf(order, request.originMntns);
    timeline.record('request', 0);
    const timeout = this.config.container.buildTimeout * 1000;
    if (order.saves) await this.#saveTargets.check(order, request.caller, request.originMntns, timeout);
    const ready = this.registry.byKey(key);
    if (ready) {
      checkNameOf(ready, order);
      await this.#checkAccess(ready, request);
      return this.#launched(ready, request, false);
    }

    for (let running = this.#builds.get(key); running; running = this.#builds.get(key)) {
      const { result } = running;
      try {
        const container = await timeline.measure('wait', () => result);
        return this.#launched(container, request, false);
      } catch (error) {
        // Whoever had it built is dead, and it died with them, or has asked too early: the next one takes it up.
        if (!running.abandoned) throw error;
      }
    }
    checkNewName(order);
    return this.#launched(await this.#start(key, request), request, true);
  }

  /** Whoever was shut out from an image after a container of it was built gets into it no more. */
  async #checkAccess({ restricted, requestedImage }: Container, { order, timeline }: LaunchUnderWay): Promise<void> {
    // A step that names the container need not say of which image it is.
    const image = order.image || requestedImage;
    if (restricted) await this.#construction.checkAccess({ ...order, image }, timeline);
  }

  /** Builds, and has everybody who asks for the same meanwhile wait for it. */
  async #start(key: string, request: LaunchUnderWay): Promise<Container> {
    const { order, caller } = request;
    const work = async (): Promise<Container> => {
      const container = await this.#construction.construct(request);
      if (!started.ended) return container;
      this.registry.end(container);
      throw jobEnded(order);
    };
    this.#checkCount(order);
    checkWritableDirectory(order, [...this.registry.all(), ...this.#builds.values()]);
    const started: Build = {
      jobId: order.jobId,
      cacheSize: cacheSizeOf(order.options),
      uid: order.uid,
      writableDirectory: writableDirectoryOf(order.options),
      ended: false,
      abandoned: false,
      result: Promise.resolve().then(work),
    };
    this.#builds.set(key, started);
    try {
      return await started.result;
    } catch (error) {
      started.abandoned = error instanceof AskedTooEarly || !native.isAlive(caller.pidfd);
      throw error;
    } finally {
      this.#builds.delete(key);
    }
  }

  /** Of a job, or of a user without one. */
  #checkCount(order: LaunchOrder): void {
    const { jobId, uid, nodeName, options } = order;
    const all = [...this.registry.all(), ...this.#builds.values()];
    const counted = all.filter((each) => each.jobId === jobId && (jobId !== 0 || each.uid === uid));
    const count = counted.length;
    if (count >= MOST_PER_JOB) {
      if (jobId === 0) throw new BerthError('BERTH_TOO_MANY_RUNS', { count, host: nodeName });
      throw new BerthError('BERTH_TOO_MANY_CONTAINERS', { job: jobId, count, host: nodeName });
    }
    const cached = counted.reduce((sum, { cacheSize = 0 }) => sum + cacheSize, 0);
    checkCacheSize(options, cached, this.config);
  }

  #containersOf(jobId: number): Container[] {
    return this.registry.all().filter((container) => container.jobId === jobId);
  }

  #launched(container: Container, { order, timeline }: LaunchUnderWay, cold: boolean): Launched {
    const launch = {
      stepId: order.stepId,
      started: Math.floor(Date.now() / 1000),
      cold,
      phases: timeline.phases as v1.Phase.$Properties[],
      ranks: [],
    };
    remember(container, launch);
    return { container, launch, timeline, cold };
  }

  /**
   * Inode of the caller's mount namespace.
   *
   * @throws BerthError BERTH_JOB_ENDED when the caller is gone.
   */
  mountNamespaceOf(caller: Caller, order: LaunchOrder): number {
    if (caller.mountNamespace !== undefined) return native.namespaceId(caller.mountNamespace);
    try {
      const fd = native.openNamespace(caller.pid, caller.pidfd, 'mnt');
      try {
        return native.namespaceId(fd);
      } finally {
        native.close(fd);
      }
    } catch (error) {
      if (isNativeError(error)) throw jobEnded(order, error);
      throw error;
    }
  }
}

function keyOf(order: LaunchOrder, originMntns: number): string {
  return containerKey({ ...order, originMntns, requestedImage: order.image });
}

function jobEnded(order: LaunchOrder, cause?: unknown): BerthError {
  return new BerthError('BERTH_JOB_ENDED', { job: order.jobId, host: order.nodeName }, { cause });
}
