import { Counter, Histogram, type Family, type LaunchPurpose, type NodeEvent } from '../events/index.js';
import { errorTable } from '../errors/index.js';

/** Seconds: from a warm launch's request, 50 µs, to the longest that a container may take by default. */
const LAUNCH_BOUNDS = [
  0.00005, 0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10, 30,
];

const codes: ReadonlySet<string> = new Set(errorTable().map(({ code }) => code));

/** What a launch that has its container is counted as. */
interface Answered {
  readonly purpose: LaunchPurpose;
  readonly start: 'cold' | 'warm';
  /** Microseconds. */
  readonly totalUs: number;
  readonly phases: readonly { readonly name: string; readonly durationUs: number }[];
}

/** Counts what happens, for whoever scrapes it: a few additions for each launch. */
export class Meters {
  readonly #launches = new Counter(
    'berth_launches_total',
    'Launch requests answered, by outcome: ok, or the code of the error.',
  );
  readonly #seconds = new Histogram(
    'berth_launch_seconds',
    'From the request of a launch to its answer.',
    LAUNCH_BOUNDS,
  );
  readonly #phases = new Histogram(
    'berth_launch_phase_seconds',
    'The phases of launches, some of which run at once.',
    LAUNCH_BOUNDS,
  );
  readonly #waits = new Histogram(
    'berth_rank_wait_seconds',
    'How long ranks waited for their container.',
    LAUNCH_BOUNDS,
  );
  readonly #joins = new Histogram('berth_rank_join_seconds', 'How long ranks took to enter it.', LAUNCH_BOUNDS);
  readonly #containers = new Counter('berth_containers_total', 'Containers built, and let go of.');
  readonly #drains = new Counter(
    'berth_node_drains_total',
    'Times that Berth has drained this node in Slurm because of its health, and resumed it.',
  );
  readonly #pulls = new Counter(
    'berth_pulls_total',
    'Pulls that have ended, by outcome: ok, or the code of the error.',
  );
  readonly #pulled = new Counter('berth_pulled_bytes_total', 'Bytes of layers that were fetched.');
  readonly #events = new Counter('berth_events_total', 'Events of the stream, by type.');
  readonly #dropped = new Counter(
    'berth_event_readers_dropped_total',
    'Readers of the stream that were too slow for it.',
  );

  constructor() {
    // What has never happened is zero, not absent: a rate begins with the first.
    for (const what of ['built', 'ended']) this.#containers.add({ what }, 0);
    for (const what of ['drained', 'resumed']) this.#drains.add({ what }, 0);
    this.#pulls.add({ outcome: 'ok' }, 0);
    this.#pulled.add({}, 0);
    this.#dropped.add({}, 0);
    for (const purpose of ['step', 'rank', 'prepare'])
      for (const start of ['cold', 'warm']) this.#launches.add({ purpose, outcome: 'ok', start }, 0);
  }

  launched({ purpose, start, totalUs, phases }: Answered): void {
    this.#launches.add({ purpose, outcome: 'ok', start });
    this.#seconds.observe(totalUs / 1e6, { start });
    for (const { name, durationUs } of phases) this.#phases.observe(durationUs / 1e6, { phase: name, start });
  }

  launchFailed(purpose: LaunchPurpose, code: string): void {
    this.#launches.add({ purpose, outcome: known(code), start: 'none' });
  }

  rankJoined(waitUs: number, joinUs: number): void {
    this.#waits.observe(waitUs / 1e6);
    this.#joins.observe(joinUs / 1e6);
  }

  container(what: 'built' | 'ended'): void {
    this.#containers.add({ what });
  }

  nodeChanged(what: 'drained' | 'resumed'): void {
    this.#drains.add({ what });
  }

  /** @param code of the error; undefined for one that has its image */
  pulled(bytes: number, code?: string): void {
    this.#pulls.add({ outcome: code === undefined ? 'ok' : known(code) });
    this.#pulled.add({}, bytes);
  }

  event({ type }: NodeEvent): void {
    this.#events.add({ type });
  }

  readerDropped(): void {
    this.#dropped.add();
  }

  families(): Family[] {
    return [
      this.#launches,
      this.#seconds,
      this.#phases,
      this.#waits,
      this.#joins,
      this.#containers,
      this.#drains,
      this.#pulls,
      this.#pulled,
      this.#events,
      this.#dropped,
    ].map((meter) => meter.family());
  }
}

/** A client's words make no series of their own. */
function known(code: string): string {
  return codes.has(code) ? code : 'other';
}
