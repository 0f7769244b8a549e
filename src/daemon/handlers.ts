import { hostname } from 'node:os';
import type { Logger } from 'pino';
import {
  accountOf,
  interiorMessage,
  launchReply,
  nameOf,
  occupants,
  PLAIN_INTERIOR,
  type Container,
} from '../container/index.js';
import { BerthError } from '../errors/index.js';
import type { Health } from '../health/index.js';
import {
  closeAside,
  closeVolumeFiles,
  findVolumeFiles,
  preparesVolumes,
  type Holders,
  type Launched,
  type Launcher,
  type LaunchOrder,
  type PathImages,
  type Puller,
  type Saves,
  type VolumeFiles,
  type Waiter,
} from '../launch/index.js';
import { NOTHING_ASKED_FOR } from '../options/index.js';
import { mayUse, requireRoot } from '../policy/index.js';
import { encodeReply, frame, v1 } from '../protocol/index.js';
import type { Connection } from './connection.js';
import { explain } from './explain.js';
import { answerHealth } from './health.js';
import { ImageRequests } from './image-requests.js';
import { ImageHandlers, type ImageParts } from './images.js';
import type { Observer } from './observer.js';
import type { PullSessions } from './pulls.js';
import type { Reconciler } from './reconcile.js';
import { launchOrder } from './requests.js';
import { Runs } from './runs.js';
import type { Uses } from './uses.js';
import { waiterAt } from './waiting.js';

/** Shortest prefix of a container's id that `berth exec` takes. */
const SHORTEST_PREFIX = 4;

/** Most holders of a container that C takes: proto/berth.options. */
const MOST_HOLDERS = 64;

/** SLURM_PENDING_STEP (slurm.h): what comes before a job's steps, like its prolog. */
const PENDING_STEP = 0xfffffffd;

/** What berthd consists of, for the handlers. */
export interface Parts extends ImageParts {
  readonly launcher: Launcher;
  readonly holders: Holders;
  readonly puller: Puller;
  readonly pathImages: PathImages;
  readonly saves: Saves;
  readonly pulls: PullSessions;
  readonly reconciler: Reconciler;
  readonly health: Health;
  readonly uses: Uses;
  readonly observer: Observer;
  readonly log: Logger;
}

/** What berthd does for each kind of request. */
export class Handlers {
  /** The launch whose ranks report on a connection. */
  readonly #launches = new WeakMap<Connection, Launched>();

  readonly #images: ImageHandlers;
  readonly #imageRequests: ImageRequests;
  readonly #runs: Runs;

  constructor(private readonly parts: Parts) {
    this.#images = new ImageHandlers(parts);
    this.#imageRequests = new ImageRequests(parts);
    this.#runs = new Runs(parts);
  }

  /**
   * @throws BerthError what the client is told.
   */
  async handle(request: v1.Request, connection: Connection): Promise<void> {
    if (request.launch) return this.#launch(new v1.LaunchRequest(request.launch), connection);
    if (request.save) return this.#save(new v1.SaveRequest(request.save), connection);
    if (request.rankJoined) {
      this.#rankJoined(new v1.RankJoined(request.rankJoined), connection);
      return;
    }
    if (request.run) return this.#runs.run(new v1.RunRequest(request.run), connection);
    if (request.jobEnd) {
      this.#jobEnd(request.jobEnd.jobId ?? 0, connection);
      return;
    }
    if (request.list) return this.#list(request.list.timeline ?? false, connection);
    if (request.exec) {
      this.#exec(new v1.ExecRequest(request.exec), connection);
      return;
    }
    if (request.import) {
      this.#images.import(new v1.ImportRequest(request.import), connection);
      return;
    }
    if (request.importEnd) {
      this.parts.imports.end(connection);
      return;
    }
    if (this.#handlePull(request, connection)) return;
    if (request.images) return this.#images.list(connection);
    if (request.resolve) return this.#images.resolve(new v1.ResolveRequest(request.resolve), connection);
    if (request.explain) {
      return explain(new v1.ExplainRequest(request.explain), connection, this.parts);
    }
    if (request.health) return answerHealth(this.parts, new v1.HealthRequest(request.health), connection);
    const answered = this.#imageRequests.handle(request, connection);
    if (answered) return answered;
    throw new BerthError('BERTH_PROTOCOL_FRAME', { why: 'a request asks for nothing' });
  }

  /** @returns false when the request is about something else than a pull. */
  #handlePull({ pull, pullBlob, pullProgress, blobEnd }: v1.Request, connection: Connection): boolean {
    const { pulls } = this.parts;
    if (pull) pulls.begin(new v1.PullRequest(pull), connection);
    else if (pullBlob) pulls.blob(new v1.PullBlob(pullBlob), connection);
    else if (pullProgress) pulls.progress(new v1.PullProgress(pullProgress), connection);
    else if (blobEnd) pulls.blobEnd(new v1.BlobEnd(blobEnd), connection);
    else return false;
    return true;
  }

  async #launch(request: v1.LaunchRequest, connection: Connection): Promise<void> {
    requireRoot(connection.peer, 'launching');
    connection.stayOpen();
    const { reconciler, config } = this.parts;
    const { purpose } = request;
    if (purpose === v1.Purpose.PURPOSE_PREPARE && !config.slurm.prepare) {
      connection.reply({ launch: {} });
      return;
    }
    const order = await this.#order(request, purpose);
    const volumeFiles = await this.#volumeFiles(order, purpose, connection);
    const launched = await this.#launchAny(request, { ...order, volumeFiles }, connection).finally(() => {
      closeVolumeFiles(volumeFiles);
    });
    if (!launched) {
      connection.reply({ launch: {} });
      return;
    }
    const start = launched.timeline.now();
    if (purpose === v1.Purpose.PURPOSE_PREPARE) connection.reply({ launch: { containerId: launched.container.id } });
    else this.#handOut(launched, order, connection);
    launched.timeline.record('reply', start);
    const totalUs = launched.timeline.now();
    if (launched.cold) this.parts.uses.begin(launched.container);
    this.#launches.set(connection, launched);
    this.#logLaunch(order, launched, purpose, totalUs);
    this.parts.observer.launched(order, launched, purpose, totalUs);
    reconciler.jobSeen(order.jobId);
  }

  async #save({ launch }: v1.SaveRequest, connection: Connection): Promise<void> {
    requireRoot(connection.peer, 'saving');
    connection.stayOpen();
    const order = launchOrder(new v1.LaunchRequest(launch ?? {}));
    const waiter = waiterOf(v1.Purpose.PURPOSE_RANK, connection);
    const { path, digest, size } = await this.parts.saves.save(order, connection.peer, waiter);
    this.parts.log.info({ job: order.jobId, step: order.stepId, uid: order.uid, path, size }, 'container saved');
    connection.reply({ save: { path, digest, size: String(size) } });
  }

  /** Only ranks see the files that volumes are made of: see {@link #launchFile}. What is ready needs none. */
  async #volumeFiles(order: LaunchOrder, purpose: v1.Purpose, connection: Connection): Promise<VolumeFiles> {
    const { launcher, pathImages, config } = this.parts;
    if (purpose !== v1.Purpose.PURPOSE_RANK || !preparesVolumes(order.options)) return new Map();
    const namespace = launcher.mountNamespaceOf(connection.peer, order);
    if (launcher.isReady(order, namespace)) return new Map();
    return findVolumeFiles(order, pathImages, config, connection.peer, namespace, waiterOf(purpose, connection));
  }

  async #launchAny(
    request: v1.LaunchRequest,
    order: LaunchOrder,
    connection: Connection,
  ): Promise<Launched | undefined> {
    const { purpose } = request;
    if (order.image.startsWith('/')) return this.#launchFile(order, purpose, connection);
    // What the prolog sees is not what the ranks will.
    if (purpose === v1.Purpose.PURPOSE_PREPARE && preparesVolumes(order.options)) return undefined;
    return this.#launchOrPull(request, order, connection);
  }

  #handOut({ container }: Launched, order: LaunchOrder, connection: Connection): void {
    const reply = launchReply(container, order, this.parts.config.container.entrypoint);
    connection.replyWithDescriptors(reply, container.namespaces);
  }

  /** An image that the store has not is pulled, and the launch tried once more. The prolog leaves that to the first step. */
  async #launchOrPull(
    { purpose, image }: v1.LaunchRequest,
    order: LaunchOrder,
    connection: Connection,
  ): Promise<Launched | undefined> {
    const { puller } = this.parts;
    try {
      return await this.#launchFor(purpose, order, connection);
    } catch (error) {
      const missing = error instanceof BerthError && error.code === 'BERTH_IMAGE_UNKNOWN';
      if (!missing || purpose === v1.Purpose.PURPOSE_PREPARE || !puller.pulls(image)) throw error;
    }
    await puller.pull({ ...order, reference: image }, waiterOf(purpose, connection));
    return this.#launchFor(purpose, order, connection);
  }

  /**
   * The image is a user's file. It is the one that the ranks see: slurmstepd may see other directories, and the prolog is
   * not to wait for an image that is made; these leave it to the ranks.
   */
  async #launchFile(order: LaunchOrder, purpose: v1.Purpose, connection: Connection): Promise<Launched | undefined> {
    if (purpose !== v1.Purpose.PURPOSE_RANK) return undefined;
    const { launcher, pathImages } = this.parts;
    const namespace = launcher.mountNamespaceOf(connection.peer, order);
    const found = await pathImages.find(order, connection.peer, namespace, waiterOf(purpose, connection));
    const { image, path, descriptor } = found;
    try {
      const file = { path, ...(descriptor === undefined ? {} : { descriptor }) };
      return await launcher.launchRank({ ...order, image, file }, connection.peer);
    } finally {
      if (descriptor !== undefined) closeAside(descriptor);
    }
  }

  #launchFor(purpose: v1.Purpose, order: LaunchOrder, { peer }: Connection): Promise<Launched | undefined> {
    const { launcher } = this.parts;
    if (purpose === v1.Purpose.PURPOSE_STEP) return launcher.launchStep(order, peer);
    if (purpose === v1.Purpose.PURPOSE_RANK) return launcher.launchRank(order, peer);
    return launcher.prepare(order, peer);
  }

  /** The prolog knows neither groups nor the spool directory: the name service and the configuration do. */
  async #order(request: v1.LaunchRequest, purpose: v1.Purpose): Promise<LaunchOrder> {
    const order = launchOrder(request);
    if (purpose !== v1.Purpose.PURPOSE_PREPARE) return order;
    const account = await accountOf(order.uid, []);
    return { ...order, stepId: PENDING_STEP, gid: account.gid, gids: account.gids };
  }

  #logLaunch(order: LaunchOrder, { container, cold, timeline }: Launched, purpose: v1.Purpose, totalUs: number): void {
    const fields = {
      job: order.jobId,
      step: order.stepId,
      uid: order.uid,
      image: container.image,
      container: container.id,
      cold,
      purpose: v1.Purpose[purpose],
      us: timeline.summary(),
      totalUs,
    };
    if (cold) this.parts.log.info(fields, 'container built');
    else this.parts.log.debug(fields, 'launched');
  }

  #rankJoined(joined: v1.RankJoined, connection: Connection): void {
    const launched = this.#launches.get(connection);
    if (!launched)
      throw new BerthError('BERTH_PROTOCOL_FRAME', { why: 'a rank reports on a connection that launched nothing' });
    launched.launch.ranks.push(joined);
    this.parts.observer.rankJoined(launched, joined);
  }

  #jobEnd(jobId: number, connection: Connection): void {
    requireRoot(connection.peer, 'ending a job');
    const ended = this.parts.reconciler.endJob(jobId);
    if (ended > 0) this.parts.log.info({ job: jobId, containers: ended }, 'job ended');
    connection.reply({ jobEnd: { ended } });
  }

  async #list(timeline: boolean, connection: Connection): Promise<void> {
    const all = this.parts.registry.all();
    const own = all.filter((container) => mayUse(connection.peer, container));
    const inside = own.length > 0 ? await occupants(own.map(({ mntns }) => mntns)) : undefined;
    connection.reply({
      list: {
        containers: own.map((container) => describe(container, inside?.get(container.mntns)?.ranks ?? 0, timeline)),
        others: all.length - own.length,
        nodeName: hostname(),
      },
    });
  }

  #exec(request: v1.ExecRequest, connection: Connection): void {
    const container = this.#find(request, connection);
    const { id, jobId, uid, gid, gids, userNamespace, nodeName, requestedImage, digest, home, holders } = container;
    const reply = frame(
      encodeReply({
        exec: {
          containerId: id,
          jobId,
          uid,
          gid,
          gids: gids.slice(0, 1024),
          userNamespace,
          nodeName,
          image: requestedImage,
          digest,
          home,
          interior: interiorMessage(container.interior ?? PLAIN_INTERIOR, NOTHING_ASKED_FOR.options, false),
          holders: holders.slice(0, MOST_HOLDERS).map(({ pid, started }) => ({ pid, started: String(started) })),
        },
      }),
    );
    // Without a user namespace only root can join; a user's command then goes through srun.
    const joins = !request.look && (userNamespace || connection.peer.uid === 0);
    connection.replyWithDescriptors(reply, joins ? container.namespaces : []);
    if (!request.look) this.parts.requests.event(connection, { job: jobId, container: id }, 'exec');
  }

  /** Among the peer's own containers, so that others' are not even known to exist. */
  #find({ container: name, jobId }: v1.ExecRequest, { peer }: Connection): Container {
    const own = this.parts.registry.all().filter((container) => mayUse(peer, container));
    const named = own.filter((container) => name !== '' && nameOf(container) === name);
    const matches =
      jobId > 0
        ? own.filter((container) => container.jobId === jobId)
        : named.length > 0
          ? named
          : own.filter(({ id }) => id === name || (name.length >= SHORTEST_PREFIX && id.startsWith(name)));
    const asked = jobId > 0 ? `of job ${jobId}` : name;
    const [first, ...more] = matches;
    if (!first) throw new BerthError('BERTH_CONTAINER_UNKNOWN', { name: asked, host: hostname() });
    if (more.length > 0) {
      throw new BerthError('BERTH_CONTAINER_AMBIGUOUS', {
        name: asked,
        host: hostname(),
        matches: matches.map(({ id, image }) => `${id} (${image})`).join(', '),
      });
    }
    return first;
  }
}

function waiterOf(purpose: v1.Purpose, connection: Connection): Waiter {
  const waiter = waiterAt(connection);
  // slurmstepd expects one answer, and soon.
  return purpose === v1.Purpose.PURPOSE_RANK ? waiter : { ...waiter, tell: () => undefined };
}

function describe(container: Container, ranks: number, timeline: boolean): v1.Container.$Properties {
  const { id, jobId, uid, user, image, digest, created, userNamespace } = container;
  const launches = timeline ? container.launches.map(inOrder) : [];
  const runs = jobId === 0 ? container.holders.length : ranks;
  const name = nameOf(container);
  return { id, jobId, uid, user, image, digest, created, ranks: runs, userNamespace, launches, name };
}

/** Phases are recorded as they end; people read them as they begin. */
function inOrder(launch: v1.Launch.$Properties): v1.Launch.$Properties {
  return { ...launch, phases: [...(launch.phases ?? [])].sort((a, b) => (a.startUs ?? 0) - (b.startUs ?? 0)) };
}
