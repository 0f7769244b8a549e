import type { Container } from '../container/index.js';
import type { ErrorMessage } from '../errors/index.js';
import {
  RankSums,
  type ContainerEvent,
  type Journal,
  type LaunchEvent,
  type LaunchPurpose,
  type NodeEvent,
  type PullEvent,
} from '../events/index.js';
import type { NodeChange, Results } from '../health/index.js';
import type { Launched, LaunchOrder } from '../launch/index.js';
import { v1, version } from '../protocol/index.js';
import { Allowance } from './allowance.js';
import type { Meters } from './meters.js';
import { nameWithin } from './people.js';

/** How often, in milliseconds, a pull under way is looked at. */
const PULL_INTERVAL = 1000;

/** A pull is told of at most so often on its way: a slow one must not push everything else out of what is kept. */
const PULL_STEPS = 50;

/** Failures that are remembered, so that a step's many ranks are one event. */
const MOST_FAILURES = 256;

/** Longest name of an image in an event, in characters: it is a user's word. */
const MOST_IMAGE = 512;

/** Longest words about a failure in an event, in characters: a user's words may be among them. */
const MOST_TEXT = 400;

/** Pulls of one user in a minute that are events: more would push out of the journal what else happens on the node. */
const MOST_PULLS = 60;

/** How long, in milliseconds, the events of a failed launch and of a pull may wait for the user's name. */
const NAME_LIMIT = 1_000;

/** How far a pull is, in bytes. */
export interface PullAmount {
  readonly received: number;
  readonly size: number;
}

/** Told how a pull ends. */
export interface PullWatch {
  readonly done: (digest: string) => void;
  readonly failed: (error: ErrorMessage) => void;
}

/** A pull that is under way. */
export interface PullUnderWay extends PullAmount {
  readonly pull: number;
  readonly uid: number;
  readonly image: string;
}

/** Makes events and counts out of what berthd does. Nothing waits for it. */
export class Observer {
  readonly #ranks: RankSums;
  readonly #pulls = new Map<number, () => PullUnderWay>();
  readonly #failures = new Set<string>();
  #health: ReadonlyMap<string, Results['findings'][number]> | undefined;
  #lastPull = 0;
  readonly #toldPulls = new Allowance(MOST_PULLS);

  constructor(
    private readonly journal: Journal,
    private readonly meters: Meters,
  ) {
    this.#ranks = new RankSums((event) => {
      this.#tell(event);
    });
  }

  /** Those under way, oldest first. */
  get pulls(): PullUnderWay[] {
    return [...this.#pulls.values()].map((look) => look());
  }

  started(adopted: number): void {
    this.#tell({ type: 'daemon', what: 'started', berthd: version, adopted });
  }

  /** A launch has its answer. */
  launched(order: LaunchOrder, { container, cold, timeline }: Launched, purpose: v1.Purpose, totalUs: number): void {
    const start = cold ? 'cold' : 'warm';
    const phases = timeline.phases.map(({ name, startUs, durationUs }) => {
      return { name: name ?? '', startUs: startUs ?? 0, durationUs: durationUs ?? 0 };
    });
    const { id, image, user } = container;
    const event: LaunchEvent = {
      type: 'launch',
      job: order.jobId,
      step: order.stepId,
      uid: order.uid,
      purpose: purposeOf(purpose),
      image: image.slice(0, MOST_IMAGE),
      container: id,
      user,
      start,
      totalUs,
      phases,
    };
    this.meters.launched({ purpose: event.purpose, start, totalUs, phases });
    this.#tell(event);
  }

  /** A launch has failed; the same failure of a step's next rank is counted, and not told again. */
  launchFailed(request: v1.LaunchRequest, failure: ErrorMessage): void {
    const { code } = failure;
    const { jobId: job, stepId: step, uid, image } = request;
    const purpose = purposeOf(request.purpose);
    this.meters.launchFailed(purpose, code);
    const key = `${job} ${step} ${uid} ${code}`;
    if (this.#failures.has(key)) return;
    this.#failures.add(key);
    const [oldest] = this.#failures;
    if (this.#failures.size > MOST_FAILURES && oldest !== undefined) this.#failures.delete(oldest);
    void nameWithin(uid, NAME_LIMIT).then((user) => {
      const about = { job, step, uid, ...(user === undefined ? {} : { user }), purpose };
      this.#tell({ type: 'launch', ...about, image: image.slice(0, MOST_IMAGE), error: code, text: textOf(failure) });
    });
  }

  rankJoined({ container, launch }: Pick<Launched, 'container' | 'launch'>, { waitUs, joinUs }: v1.RankJoined): void {
    const { id, jobId: job, uid } = container;
    this.meters.rankJoined(waitUs, joinUs);
    this.#ranks.joined({ job, step: launch.stepId ?? 0, uid, container: id }, waitUs, joinUs);
  }

  containerBuilt(container: Container): void {
    this.#container('built', container);
  }

  containerEnded(container: Container): void {
    this.#container('ended', container);
  }

  /**
   * A pull begins.
   *
   * @param look how far it is now.
   */
  pullBegun(uid: number, name: string, look: () => PullAmount): PullWatch {
    const pull = ++this.#lastPull;
    const image = name.slice(0, MOST_IMAGE);
    // All of its events wait for the one name, so that they stay in order. Nobody's is asked for that is not told.
    const named = this.#toldPulls.take(uid, performance.now()) ? nameWithin(uid, NAME_LIMIT) : undefined;
    let told = 0;
    const tell = (what: PullEvent['what'], more: Pick<PullEvent, 'digest' | 'error' | 'text'> = {}): void => {
      if (!named) return;
      const amount = look();
      void named.then((user) => {
        const whose = { uid, ...(user === undefined ? {} : { user }) };
        this.#tell({ type: 'pull', what, pull, ...whose, image, ...amount, ...more });
      });
    };
    const timer = setInterval(() => {
      const { received, size } = look();
      if (received < told + Math.max(1, size / PULL_STEPS)) return;
      told = received;
      tell('progress');
    }, PULL_INTERVAL);
    const end = (code?: string): void => {
      clearInterval(timer);
      this.#pulls.delete(pull);
      this.meters.pulled(look().received, code);
    };
    this.#pulls.set(pull, () => ({ pull, uid, image, ...look() }));
    tell('begun');
    return {
      done: (digest) => {
        end();
        tell('done', { digest });
      },
      failed: (error) => {
        end(error.code);
        tell('failed', { error: error.code, text: textOf(error) });
      },
    };
  }

  /** The checks were done. What passed from the beginning is no news. */
  healthFound({ findings }: Results): void {
    const before = this.#health;
    this.#health = new Map(findings.map((finding) => [finding.id, finding]));
    for (const { id, family, status, text, hint } of findings) {
      const from = before?.get(id)?.status;
      if (status === (from ?? 'pass')) continue;
      const change = { check: id, family, ...(from === undefined ? {} : { from }), to: status, text, hint };
      this.#tell({ type: 'health', ...change });
    }
  }

  /** Berth has drained or resumed the node in Slurm. */
  nodeChanged({ what, node, reason, gone, time }: NodeChange): void {
    this.meters.nodeChanged(what);
    // What was done before this berthd started has that time, and not the one at which it is told.
    this.#tell({ type: 'drain', what, node, reason, ...(gone.length > 0 ? { gone } : {}) }, time);
  }

  #container(what: ContainerEvent['what'], { id, jobId, uid, user, image, digest }: Container): void {
    this.meters.container(what);
    this.#tell({ type: 'container', what, container: id, job: jobId, uid, user, image, digest });
  }

  #tell(event: NodeEvent, time?: number): void {
    this.meters.event(event);
    this.journal.append(event, time);
  }
}

/** What this version does not know, it takes for a rank. */
function purposeOf(purpose: v1.Purpose): LaunchPurpose {
  if (purpose === v1.Purpose.PURPOSE_STEP) return 'step';
  return purpose === v1.Purpose.PURPOSE_PREPARE ? 'prepare' : 'rank';
}

/** What failed, and why: as the user was told. */
function textOf({ what, why }: ErrorMessage): string {
  return `${what}: ${why}`.slice(0, MOST_TEXT);
}
