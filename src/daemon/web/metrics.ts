import { readdir } from 'node:fs/promises';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { occupants, type Registry } from '../../container/index.js';
import { metricText, type Family, type Sample } from '../../events/index.js';
import { asPrometheus, type Health } from '../../health/index.js';
import { version } from '../../protocol/index.js';
import type { Meters } from '../meters.js';
import type { Observer } from '../observer.js';
import type { StoreUsage } from './store-usage.js';

/** Results of the health checks that are older, in seconds, are replaced by the next scrape's, after it has its answer. */
const HEALTH_AGE = 300;

/** How old, in milliseconds, the number of ranks may be: counting looks at every process of the node. */
const RANKS_AGE = 5_000;

export interface MetricParts {
  readonly registry: Registry;
  readonly health: Health;
  readonly meters: Meters;
  readonly observer: Observer;
  readonly usage: StoreUsage;
  /** How many read the event stream. */
  readonly readers: () => number;
}

/** What a scrape is told. Between scrapes nothing is looked at. */
export class Metrics {
  #ranks = { count: 0, counted: Number.NEGATIVE_INFINITY };

  constructor(private readonly parts: MetricParts) {}

  /** In Prometheus' text format. */
  async text(): Promise<string> {
    const { meters, usage, health } = this.parts;
    const lag = await eventLoopLag();
    const families = [
      ...meters.families(),
      ...(await this.#now()),
      ...(await usage.families()),
      ...(await ownCost(lag)),
    ];
    const found = health.latest;
    const isOld = !found || Date.now() - found.time > HEALTH_AGE * 1000;
    // Its failure is a finding like others, or the next scrape's to show by the time of the results.
    if (isOld) health.results(HEALTH_AGE).catch(() => undefined);
    return metricText(families) + (found ? asPrometheus(found).text : '');
  }

  async #now(): Promise<Family[]> {
    const { registry, observer, readers } = this.parts;
    const gauge = (name: string, help: string, value: number): Family => ({
      name,
      help,
      type: 'gauge',
      samples: [{ value }],
    });
    return [
      gauge('berth_containers', 'Containers on this node.', registry.all().length),
      gauge('berth_ranks', 'Processes in them that slurmstepd has started.', await this.#countRanks()),
      gauge('berth_pulls', 'Pulls under way.', observer.pulls.length),
      gauge('berth_event_readers', 'Who reads the event stream.', readers()),
    ];
  }

  async #countRanks(): Promise<number> {
    const namespaces = this.parts.registry.all().map(({ mntns }) => mntns);
    if (namespaces.length === 0) return 0;
    if (performance.now() - this.#ranks.counted > RANKS_AGE) {
      const found = await occupants(namespaces);
      const count = [...found.values()].reduce((sum, { ranks }) => sum + ranks, 0);
      this.#ranks = { count, counted: performance.now() };
    }
    return this.#ranks.count;
  }
}

/** How late the next turn of the event loop is, in seconds. */
async function eventLoopLag(): Promise<number> {
  const start = performance.now();
  await nextTurn();
  return (performance.now() - start) / 1000;
}

/** The daemon's own, under the names that Prometheus' libraries use. */
async function ownCost(lag: number): Promise<Family[]> {
  const { user, system } = process.cpuUsage();
  const { utilization } = performance.eventLoopUtilization();
  const descriptors = await readdir('/proc/self/fd').catch(() => undefined);
  const one = (value: number): Sample[] => [{ value }];
  return [
    {
      name: 'berth_build_info',
      type: 'gauge',
      help: 'The version of berthd.',
      samples: [{ labels: { version }, value: 1 }],
    },
    {
      name: 'process_cpu_seconds_total',
      type: 'counter',
      help: 'Processor time of berthd, in seconds.',
      samples: one((user + system) / 1e6),
    },
    {
      name: 'process_resident_memory_bytes',
      type: 'gauge',
      help: 'Memory of berthd that is in use, what it shares with others included.',
      samples: one(process.memoryUsage.rss()),
    },
    {
      name: 'process_start_time_seconds',
      type: 'gauge',
      help: 'When berthd was started, in seconds since the epoch.',
      samples: one(Math.round(performance.timeOrigin / 1000)),
    },
    {
      name: 'process_open_fds',
      type: 'gauge',
      help: 'Descriptors that berthd has open.',
      samples: descriptors ? one(descriptors.length) : [],
    },
    {
      name: 'berth_event_loop_lag_seconds',
      type: 'gauge',
      help: "How late berthd's event loop was, at this scrape.",
      samples: one(lag),
    },
    {
      name: 'berth_event_loop_busy_ratio',
      type: 'gauge',
      help: 'The part of its life in which berthd had something to do.',
      samples: one(utilization),
    },
  ];
}
