import { hostname } from 'node:os';
import type { Config } from '../config/index.js';
import type { Container } from '../container/index.js';
import { reasonOf } from '../errors/index.js';
import { v1 } from '../protocol/index.js';
import { Memory, type Check } from './check.js';
import { siteChecks } from './checks/site.js';
import { shortHostName } from './checks/slurm.js';
import { takeDeadDaemon } from './dead.js';
import { checksIn, inWords, settle, slurmdAbove, type NodeChange } from './drain.js';
import { Counted, drainworthy } from './drain-history.js';
import { realPlaces, type Places } from './places.js';
import { ProbeSession, StuckQuestions } from './probe.js';
import { asJson, asNagios, asPrometheus, asText, type Report, type Results } from './report.js';
import { Runner } from './run.js';
import { SlurmFacts } from './slurm-facts.js';
import { checks } from './table.js';

/** Results that plain users make do with, in seconds: they may look, but not keep the node busy with it. */
const USERS_MAX_AGE = 60;

export interface HealthParts {
  readonly config: Config;
  /** The file it came from, where not the usual one. */
  readonly configFile: string | undefined;
  readonly containers: () => readonly Container[];
  /** Why [events] listen is not served, as everybody may know it; undefined when it is. */
  readonly eventsFault: () => string | undefined;
  /** What was done to the node in Slurm, or could not be, for the log. */
  readonly report: (done: string) => void;
  /** Told when Berth has drained or resumed the node. */
  readonly onNodeChange?: (change: NodeChange) => void;
  /** Told what each run of the checks has found. */
  readonly onResults?: (results: Results) => void;
  readonly places?: Places;
}

/** Who asks, and what. */
export interface HealthQuestion {
  readonly uid: number;
  readonly pid: number;
  readonly request: v1.HealthRequest;
}

/**
 * The node's health, when somebody asks: nothing is looked at by itself, and what several ask for at once is done once.
 */
export class Health {
  readonly #runner = new Runner();
  readonly #stuck = new StuckQuestions();
  readonly #memory = new Memory();
  #results: Results | undefined;
  #running: Promise<Results> | undefined;
  readonly #counted = new Counted(checks.map(({ id }) => id));
  /** The time of the results that are counted already. */
  #countedTime = 0;
  /** The slurmd that asked last: the first time it asks, it has not registered its node yet. */
  #slurmd: string | undefined;
  /** May Slurm have this node drained with a reason of ours? Not known until it was asked once. */
  #mayBeDrained = true;
  /** Was it drained when Slurm was last asked about it, whoever has done that? */
  #wasDrained = false;
  #telling = false;

  constructor(private readonly parts: HealthParts) {}

  /** berthd is the one of this node: what was done to the node without it is told now. */
  atStart(): void {
    for (const change of takeDeadDaemon(this.parts.config)) this.#changed(change);
  }

  /** What the checks found the last time that somebody asked. */
  get latest(): Results | undefined {
    return this.#results;
  }

  /** Results that are not older than `maxAge` seconds. */
  async results(maxAge: number): Promise<Results> {
    const age = this.#results ? (Date.now() - this.#results.time) / 1000 : Number.POSITIVE_INFINITY;
    // A clock that was set back makes no result the newest for ever.
    if (this.#results && age >= 0 && age < maxAge) return this.#results;
    this.#running ??= this.#run().finally(() => {
      this.#running = undefined;
    });
    return this.#running;
  }

  /** The answer to a client. Slurm is told after it has been given: nobody waits for the controller. */
  async answer({ uid, pid, request }: HealthQuestion): Promise<Report> {
    // Before anything is waited for: slurmd may have given up and gone by then.
    const slurmd = request.slurm ? slurmdAbove(pid) : undefined;
    const maxAge = uid === 0 ? request.maxAge : Math.max(request.maxAge, USERS_MAX_AGE);
    const results = await this.results(maxAge);
    if (uid === 0 && request.slurm) this.#tellSlurm(results, slurmd, request.nodeName);
    return render(results, request);
  }

  async #run(): Promise<Results> {
    const { config, configFile, containers, eventsFault, places = realPlaces } = this.parts;
    const probe = new ProbeSession(this.#stuck);
    const start = performance.now();
    const time = Date.now();
    try {
      const findings = await this.#runner.run(await this.#checks(probe), {
        config,
        configFile,
        containers,
        eventsFault,
        places,
        probe,
        stuck: this.#stuck,
        memory: this.#memory,
        slurm: SlurmFacts.read(),
      });
      const milliseconds = Math.round(performance.now() - start);
      const results = { node: hostname(), time, milliseconds, findings };
      this.#results = results;
      this.parts.onResults?.(results);
      return results;
    } finally {
      probe.close();
    }
  }

  async #checks(probe: ProbeSession): Promise<Check[]> {
    const { skip, siteChecks: directory } = this.parts.config.health;
    const all = directory === '' ? checks : [...checks, ...(await siteChecks(directory, probe))];
    return all.filter(({ id }) => !skip.includes(id));
  }

  /** @param slurmd whoever asked on Slurm's behalf; undefined when slurmd is not above the client */
  #tellSlurm({ time, findings }: Results, slurmd: string | undefined, nodeName: string): void {
    const { config, report } = this.parts;
    // What was found once counts once, however often it is told.
    const isNew = time !== this.#countedTime;
    if (isNew) this.#counted.count(findings);
    this.#countedTime = time;
    const isFirst = slurmd !== undefined && slurmd !== this.#slurmd;
    this.#slurmd = slurmd ?? this.#slurmd;
    if (!config.health.drain || isFirst || this.#telling) return;
    const failing = drainworthy(this.#counted.tallies, config.health);
    if (failing.length === 0 && !this.#mayBeDrained) {
      // Not looked at: whatever becomes of it meanwhile is no news when it is looked at again.
      this.#wasDrained = false;
      return;
    }
    this.#telling = true;
    const name = nodeName || shortHostName();
    void settle(name, this.#counted, config.health, this.#wasDrained)
      .then(({ node, change, isDrained, isResumedByOthers }) => {
        this.#wasDrained = isDrained;
        if (isResumedByOthers) this.#counted.startAnew(isNew ? findings : []);
        if (change) this.#changed(change);
        this.#mayBeDrained = failing.length > 0 || (checksIn(node.reason) !== undefined && change?.what !== 'resumed');
      })
      .catch((error: unknown) => {
        report(`the node's health could not be told to Slurm: ${reasonOf(error)}`);
      })
      .finally(() => {
        this.#telling = false;
      });
  }

  #changed(change: NodeChange): void {
    this.parts.report(inWords(change));
    this.parts.onNodeChange?.(change);
  }
}

function render(results: Results, { format, all }: v1.HealthRequest): Report {
  switch (format) {
    case v1.HealthRequest.Format.FORMAT_JSON:
      return asJson(results);
    case v1.HealthRequest.Format.FORMAT_NAGIOS:
      return asNagios(results);
    case v1.HealthRequest.Format.FORMAT_PROMETHEUS:
      return asPrometheus(results);
    default:
      return asText(results, all);
  }
}
