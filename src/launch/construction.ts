import { hostname } from 'node:os';
import type { Config } from '../config/index.js';
import {
  Builders,
  closeNamespaces,
  ContainerBuilder,
  imageWords,
  launchReply,
  type Container,
  type ContainerRecord,
  type Namespaces,
  type Registry,
  type Reservation,
  type Specification,
} from '../container/index.js';
import { BerthError } from '../errors/index.js';
import type { ImageRecord, ImageStore } from '../image/index.js';
import type { Designer } from './designer.js';
import type { ProcessInside } from './hooks.js';
import { ImageMounts, letGo } from './image-mounts.js';
import type { Caller, LaunchOrder } from './order.js';
import { makeReady } from './readiness.js';
import { ServedFile } from './served-file.js';
import type { Timeline } from './timeline.js';
import { cacheSizeOf, closeVolumes, Volumes, type MountedVolumes } from './volumes.js';
import { writableDirectoryOf } from './writable-directory.js';

/** A launch under way. */
export interface LaunchUnderWay {
  readonly order: LaunchOrder;
  readonly caller: Caller;
  readonly timeline: Timeline;
  /** Inode of the caller's mount namespace. */
  readonly originMntns: number;
  /** Does the caller ask before Slurm has put a process into the job's cgroups? */
  readonly isEarly: boolean;
}

/** What the builder needs to finish. */
interface Prepared {
  readonly record: ImageRecord;
  readonly specification: Specification;
  /** The detached mount, or what has one served; whoever has this lets go of it. */
  readonly image: number | ServedFile;
  readonly volumes: MountedVolumes;
}

/** Builds containers: finds the image, has everything designed and mounted, and sees a builder through its work. */
export class Construction {
  readonly #images: ImageMounts;
  readonly #volumes: Volumes;

  constructor(
    private readonly config: Config,
    store: ImageStore,
    private readonly registry: Registry,
    private readonly designer: Designer,
    private readonly builders = new Builders(),
  ) {
    this.#images = new ImageMounts(config, store);
    this.#volumes = new Volumes(config, store, this.#images);
  }

  /**
   * Looks whether a user may have an image, still.
   *
   * @throws BerthError BERTH_IMAGE_UNKNOWN and its like
   */
  async checkAccess(order: LaunchOrder, timeline: Timeline): Promise<void> {
    await this.#images.find(order, timeline);
  }

  /** @throws BerthError whatever keeps the container from being built. */
  async construct(request: LaunchUnderWay): Promise<Container> {
    const timeout = this.config.container.buildTimeout * 1000;
    const builder = new ContainerBuilder(request.caller.mountNamespace ?? request.caller.pidfd, this.builders);
    try {
      const prepared = await inTime(this.#prepare(request, builder), timeout, release);
      try {
        return await request.timeline.measure('build', () => this.#finish(request, prepared, builder));
      } finally {
        release(prepared);
      }
    } finally {
      // Whoever waits for the container has its answer first.
      setImmediate(() => builder.end());
    }
  }

  /** What has to wait for file systems and the name service; the builder does what it can meanwhile. */
  async #prepare(request: LaunchUnderWay, builder: ContainerBuilder): Promise<Prepared> {
    const { order, caller, timeline } = request;
    const finding = this.#images.find(order, timeline);
    const opening = finding.then((record) => this.#images.open(record, order, timeline));
    const beginning = this.#begin(request, finding, builder);
    // Reported below, once it is known whether the image can be had at all.
    beginning.catch(() => undefined);
    const mounting = beginning.then(({ plan }) => this.#volumes.mount(order, caller, plan.prepared, timeline));
    const [image, volumes] = await Promise.allSettled([opening, mounting]);
    if (image.status === 'fulfilled' && volumes.status === 'fulfilled') {
      return { record: await finding, image: image.value, volumes: volumes.value, specification: await beginning };
    }
    if (image.status === 'fulfilled') letGo(image.value);
    if (volumes.status === 'fulfilled') closeVolumes(volumes.value);
    throw image.status === 'rejected' ? image.reason : volumes.status === 'rejected' ? volumes.reason : undefined;
  }

  /** Starts the builder while threads ask the name service, and lets it go as far as it can without the image. */
  async #begin(
    { order, caller, timeline, isEarly }: LaunchUnderWay,
    finding: Promise<ImageRecord>,
    builder: ContainerBuilder,
  ): Promise<Specification> {
    const pid = isEarly ? undefined : caller.pid;
    const specifying = timeline.measure('identity', () => this.designer.design(order, pid, finding));
    timeline.measure('spawn', () => builder.start()).catch(() => undefined);
    const specification = await specifying;
    specification.message.fuse = this.#images.isServed(order);
    // Its failure is told when the builder is to finish.
    timeline.measure('namespaces', () => builder.begin(specification)).catch(() => undefined);
    return specification;
  }

  async #finish(
    { order, originMntns, timeline }: LaunchUnderWay,
    prepared: Prepared,
    builder: ContainerBuilder,
  ): Promise<Container> {
    const { record, specification, image, volumes } = prepared;
    const timeout = this.config.container.buildTimeout * 1000;
    const served = image instanceof ServedFile ? image : undefined;
    const source = image instanceof ServedFile ? image.serve : image;
    let reservation: Reservation | undefined;
    const reserve = (): Reservation => {
      const made = this.registry.reserve({
        ...this.#record(order, originMntns, prepared),
        ...(served ? { server: served.keep() } : {}),
      });
      launchReply(made, order, this.config.container.entrypoint);
      return made;
    };
    let container: Container | undefined;
    const keep = (namespaces: Namespaces): void => {
      const start = timeline.now();
      try {
        reservation ??= reserve();
        container = this.registry.pin(reservation, namespaces);
      } catch (error) {
        closeNamespaces(namespaces);
        throw error;
      }
      timeline.record('pin', start);
    };
    const meanwhile = (): void => {
      reservation = reserve();
    };
    const examine = (process: ProcessInside): Promise<void> => {
      const image = imageWords(record.config);
      const after = { ...specification, isServed: served !== undefined, image, digest: record.digest };
      return timeline.measure('modules', () => makeReady(after, order, process, this.config));
    };
    const isWaitedFor = specification.checks.length + specification.hooks.length > 0;
    try {
      await builder.finish(specification, source, volumes.descriptors, timeout, keep, {
        meanwhile,
        ...(isWaitedFor ? { examine } : {}),
      });
    } catch (error) {
      if (reservation && !container) this.registry.discard(reservation);
      throw (await served?.explain(error)) ?? error;
    }
    if (!container) throw new Error('the build ended without a container');
    return container;
  }

  #record(
    order: LaunchOrder,
    originMntns: number,
    { record, specification, volumes }: Prepared,
  ): Omit<ContainerRecord, 'id'> {
    const { account, plan, root, pretend, message } = specification;
    return {
      jobId: order.jobId,
      uid: order.uid,
      gid: order.gid,
      gids: order.gids,
      user: account.name,
      home: account.home,
      requestedImage: order.image,
      image: order.file?.path ?? order.imageName ?? record.name,
      digest: record.digest,
      created: Math.floor(Date.now() / 1000),
      userNamespace: message.userNamespace ?? false,
      originMntns,
      nodeName: order.nodeName,
      ...(isRestricted(record, order.uid) ? { restricted: true } : {}),
      stepId: order.stepId,
      optionsKey: order.optionsKey,
      ...(order.options.name ? { shape: order.shape } : {}),
      interior: {
        image: imageWords(record.config),
        environment: plan.environment,
        unshared: order.options.unshare.length,
        root,
        pretend,
      },
      ...(volumes.digests.length > 0 ? { volumes: volumes.digests } : {}),
      cacheSize: cacheSizeOf(order.options),
      writableDirectory: writableDirectoryOf(order.options),
      isWritable: message.writable !== undefined && message.writable !== null,
    };
  }
}

function release({ image, volumes }: Prepared): void {
  letGo(image);
  closeVolumes(volumes);
}

/**
 * The result of work that the kernel may hold up for ever. `release` gets what comes too late.
 *
 * @throws BerthError BERTH_BUILD_TIMEOUT after `timeout` milliseconds.
 */
async function inTime<T>(work: Promise<T>, timeout: number, release: (late: T) => void): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => {
      work.then(release, () => undefined);
      const why = 'the image store, or the name service of the node, did not answer';
      reject(new BerthError('BERTH_BUILD_TIMEOUT', { host: hostname(), seconds: timeout / 1000, why }));
    }, timeout);
  });
  try {
    return await Promise.race([work, late]);
  } finally {
    clearTimeout(timer);
  }
}

/** Could somebody take the right to this image away from this user? Not from its owner, nor where it is everyone's. */
function isRestricted({ owner, access }: ImageRecord, uid: number): boolean {
  return owner !== uid && (owner !== 'site' || access !== undefined);
}
