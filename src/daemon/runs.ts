import { readFileSync } from 'node:fs';
import { hostname } from 'node:os';
import { interiorMessage, PLAIN_INTERIOR, type Container } from '../container/index.js';
import { BerthError } from '../errors/index.js';
import {
  closeAside,
  closeVolumeFiles,
  findVolumeFiles,
  membershipOf,
  type Caller,
  type Holders,
  type Launched,
  type Launcher,
  type LaunchOrder,
  type Membership,
  type PathImages,
  type Puller,
} from '../launch/index.js';
import { isNativeError, native } from '../native/index.js';
import { requireRunning } from '../policy/index.js';
import { encodeReply, frame, type v1 } from '../protocol/index.js';
import type { Connection } from './connection.js';
import type { ImageParts } from './images.js';
import type { Reconciler } from './reconcile.js';
import type { RequestLog } from './report.js';
import { runOrder } from './requests.js';
import type { Uses } from './uses.js';
import { waiterAt } from './waiting.js';

/** Most bytes of the image's default command: proto/berth.options. */
const MOST_COMMAND = 4094;

/** How often a container that has just been let go of is built anew before something is wrong. */
const ATTEMPTS = 8;

export interface RunParts extends ImageParts {
  readonly launcher: Launcher;
  readonly holders: Holders;
  readonly puller: Puller;
  readonly pathImages: PathImages;
  readonly reconciler: Reconciler;
  readonly uses: Uses;
  readonly requests: RequestLog;
}

/**
 * Containers that users ask for themselves: `berth run` and `shifter`. Everything about them is as for a launch, but nothing
 * is believed that the asking process says of itself.
 */
export class Runs {
  #last = 0;

  constructor(private readonly parts: RunParts) {}

  /** @throws BerthError what the user is told. */
  async run(request: v1.RunRequest, connection: Connection): Promise<void> {
    const { config } = this.parts;
    const { peer } = connection;
    requireRunning(peer, config.container.run);
    if (config.container.userns === 'off' && peer.uid !== 0) throw withoutUserNamespaces(peer.uid);
    connection.stayOpen();
    const mountNamespace = hostMountNamespace(connection);
    try {
      const caller = { pid: peer.pid, pidfd: peer.pidfd, mountNamespace };
      const membership = membershipAt(connection);
      const order = runOrder(request, {
        uid: peer.uid,
        gid: peer.gid,
        gids: connection.peerGroups(),
        // Steps are told apart by their numbers; each run is one of its own.
        ...(membership ?? { jobId: 0, stepId: ++this.#last }),
      });
      const launched = await this.#launch(request, order, caller, connection);
      this.#answer(launched, order, membership, connection);
    } finally {
      native.close(mountNamespace);
    }
  }

  /** With the files that its volumes are made of. */
  async #launch(request: v1.RunRequest, order: LaunchOrder, caller: Caller, connection: Connection): Promise<Launched> {
    const { launcher, pathImages, config } = this.parts;
    const namespace = launcher.mountNamespaceOf(caller, order);
    const volumeFiles = await findVolumeFiles(order, pathImages, config, caller, namespace, waiterAt(connection));
    try {
      const complete = { ...order, volumeFiles };
      if (order.image.startsWith('/')) return await this.#launchFile(complete, caller, connection);
      return await this.#launchOrPull(request, complete, caller, connection);
    } finally {
      closeVolumeFiles(volumeFiles);
    }
  }

  async #launchOrPull(
    { image, pull }: v1.RunRequest,
    order: LaunchOrder,
    caller: Caller,
    connection: Connection,
  ): Promise<Launched> {
    const { puller } = this.parts;
    try {
      return await this.#hold(order, caller);
    } catch (error) {
      const missing = error instanceof BerthError && error.code === 'BERTH_IMAGE_UNKNOWN';
      if (!missing || !pull || !puller.pulls(image)) throw error;
    }
    await puller.pull({ ...order, reference: image }, waiterAt(connection));
    return this.#hold(order, caller);
  }

  /** The image is a user's file, as they see it. */
  async #launchFile(order: LaunchOrder, caller: Caller, connection: Connection): Promise<Launched> {
    const { launcher, pathImages } = this.parts;
    const namespace = launcher.mountNamespaceOf(caller, order);
    const { image, path, descriptor } = await pathImages.find(order, caller, namespace, waiterAt(connection));
    try {
      const file = { path, ...(descriptor === undefined ? {} : { descriptor }) };
      return await this.#hold({ ...order, image, file }, caller);
    } finally {
      if (descriptor !== undefined) closeAside(descriptor);
    }
  }

  /** A container that lasts for the caller, where it belongs to no job: the last that held it may just have ended. */
  async #hold(order: LaunchOrder, caller: Caller): Promise<Launched> {
    const { launcher, holders } = this.parts;
    for (let attempt = 1; ; attempt++) {
      const launched = await launcher.launch(order, caller);
      if (order.jobId !== 0 || holders.hold(launched.container, caller)) return launched;
      if (native.hasEnded(caller.pidfd)) throw gone(order);
      if (attempt < ATTEMPTS) continue;
      const why = 'it was let go of again each time that it was ready';
      throw new BerthError('BERTH_BUILD_FAILED', { host: order.nodeName, why });
    }
  }

  #answer(
    { container, cold, timeline }: Launched,
    order: LaunchOrder,
    membership: Membership | undefined,
    connection: Connection,
  ): void {
    const { config, uses, reconciler, requests } = this.parts;
    const { id, userNamespace, originMntns, image, digest } = container;
    const interior = interiorMessage(container.interior ?? PLAIN_INTERIOR, order.options, config.container.entrypoint);
    const command = commandOf(container, interior.entrypoint ?? false);
    const reply = { containerId: id, userNamespace, originMntns, image, digest, interior, command };
    connection.replyWithDescriptors(frame(encodeReply({ launch: reply })), container.namespaces);
    if (cold) uses.begin(container);
    if (membership) reconciler.jobSeen(membership.jobId);
    const fields = { job: order.jobId, image, container: id, cold, us: timeline.summary(), totalUs: timeline.now() };
    if (cold) requests.event(connection, fields, 'container built for a run');
  }
}

/** What is run where the user names no program, each word ended by a NUL; empty where the image says nothing of use. */
function commandOf({ interior }: Container, byEntrypoint: boolean): Uint8Array {
  const { entrypoint = [], command = [] } = interior?.image ?? {};
  const words = byEntrypoint ? command : [...entrypoint, ...command];
  const bytes = Buffer.from(words.map((word) => `${word}\0`).join(''));
  return bytes.length > MOST_COMMAND ? Buffer.alloc(0) : bytes;
}

/**
 * The peer's mount namespace, opened. It has to be one of the host's or of Slurm's making: in one that users have made, of
 * which they are root, a path says nothing of where a file is, and the site's rules are about paths.
 *
 * @throws BerthError BERTH_NOT_PERMITTED, BERTH_JOB_ENDED
 */
function hostMountNamespace({ peer }: Connection): number {
  const namespace = openMountNamespace(peer);
  try {
    if (isOfHost(namespace)) return namespace;
  } catch (error) {
    native.close(namespace);
    throw error;
  }
  native.close(namespace);
  throw new BerthError('BERTH_NOT_PERMITTED', {
    what: 'running a container from inside another one',
    uid: peer.uid,
    why: 'the asking process is in a mount namespace that its user has made',
    hint: 'call it outside of containers, unshare(1) and the like',
  });
}

function openMountNamespace({ pid, pidfd }: Connection['peer']): number {
  try {
    return native.openNamespace(pid, pidfd, 'mnt');
  } catch (error) {
    if (isNativeError(error)) throw gone({ jobId: 0, nodeName: hostname() });
    throw error;
  }
}

function isOfHost(mountNamespace: number): boolean {
  const owner = native.owningUserNamespace(mountNamespace);
  try {
    return native.namespaceId(owner) === ownUserNamespace();
  } finally {
    native.close(owner);
  }
}

function ownUserNamespace(): number {
  const own = native.openPidfd(process.pid);
  if (own === undefined) throw new Error('berthd finds no process of its own number');
  try {
    const namespace = native.openNamespace(process.pid, own, 'user');
    try {
      return native.namespaceId(namespace);
    } finally {
      native.close(namespace);
    }
  } finally {
    native.close(own);
  }
}

/**
 * The job that the peer is in.
 *
 * @throws BerthError BERTH_JOB_ENDED when the peer is gone.
 */
function membershipAt({ peer }: Connection): Membership | undefined {
  let memberships = '';
  try {
    memberships = readFileSync(`/proc/${peer.pid}/cgroup`, 'utf8');
  } catch {
    // Gone, as the pidfd tells.
  }
  // What was read is of this process only if it is still there.
  if (native.hasEnded(peer.pidfd)) throw gone({ jobId: 0, nodeName: hostname() });
  return membershipOf(memberships, peer.uid);
}

function gone({ jobId, nodeName }: Pick<LaunchOrder, 'jobId' | 'nodeName'>): BerthError {
  return new BerthError('BERTH_JOB_ENDED', { job: jobId, host: nodeName });
}

function withoutUserNamespaces(uid: number): BerthError {
  return new BerthError('BERTH_NOT_PERMITTED', {
    what: `running a container on ${hostname()} without Slurm`,
    uid,
    why: 'the site has set [container] userns = "off": only root could enter the container',
    hint: 'let Slurm start it: srun --image=NAME COMMAND',
  });
}
