import { execFile } from 'node:child_process';
import { mkdirSync, readdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import type { Logger } from 'pino';
import { occupants, type Container, type Registry } from '../container/index.js';
import { reasonOf } from '../errors/index.js';
import type { Launcher, PathImages } from '../launch/index.js';
import type { Uses } from './uses.js';

const run = promisify(execFile);

/** Slurm's controller is asked at most this often, in milliseconds: thousands of nodes may start a job at once. */
const ASK_INTERVAL = 300_000;

/** Younger containers are not looked at, in seconds: their job has just begun. */
const YOUNGEST = 60;

/**
 * Ends what a missed epilog left. There is no timer: it looks when berthd starts, when a job comes that was not here
 * before, and when root asks for the node's health, as Slurm does also where no job comes.
 */
export class Reconciler {
  readonly #jobs = new Set<number>();
  #asked = Number.NEGATIVE_INFINITY;

  constructor(
    private readonly registry: Registry,
    private readonly launcher: Launcher,
    private readonly pathImages: PathImages,
    /** Where the plugin's epilog leaves the numbers of jobs that ended while berthd was not there. */
    private readonly notes: string,
    private readonly uses: Uses,
    private readonly log: Logger,
  ) {}

  /** What happened while berthd was away. */
  async atStart(): Promise<void> {
    this.uses.atStart();
    mkdirSync(this.notes, { recursive: true, mode: 0o700 });
    for (const name of readdirSync(this.notes)) {
      if (/^\d+$/.test(name)) {
        const ended = this.endJob(Number(name));
        this.log.info({ job: Number(name), containers: ended }, 'job ended while berthd was away');
      }
      rmSync(join(this.notes, name), { recursive: true, force: true });
    }
    for (const { jobId } of this.registry.all()) this.#jobs.add(jobId);
    await this.#askSlurm(0);
  }

  /** A launch of this job: the moment to look whether an earlier job left something. */
  jobSeen(jobId: number): void {
    if (this.#jobs.has(jobId)) return;
    this.#jobs.add(jobId);
    this.#look();
  }

  /** Root, or Slurm's HealthCheckProgram, has asked for the node's health. Plain users must not make it ask Slurm. */
  healthAsked(): void {
    this.#look();
  }

  #look(): void {
    if (performance.now() - this.#asked < ASK_INTERVAL) return;
    void this.#askSlurm(YOUNGEST);
  }

  /**
   * Lets go of all that a job has on this node, and forgets it: one that is requeued has the same number.
   *
   * @returns how many containers it had.
   */
  endJob(jobId: number): number {
    const ended = this.launcher.endJob(jobId);
    this.pathImages.endJob(jobId);
    this.#jobs.delete(jobId);
    this.uses.end(jobId);
    return ended;
  }

  /** Ends empty containers, at least `youngest` seconds old, of jobs that Slurm has no longer on this node. */
  async #askSlurm(youngest: number): Promise<void> {
    const oldEnough = Math.floor(Date.now() / 1000) - youngest;
    const ofJobs = this.registry.all().filter(({ jobId }) => jobId !== 0);
    const candidates = ofJobs.filter(({ created }) => created <= oldEnough);
    if (candidates.length === 0) return;
    this.#asked = performance.now();
    try {
      const inside = await occupants(candidates.map(({ mntns }) => mntns));
      const empty = candidates.filter(({ mntns }) => !inside.has(mntns));
      // Slurm may not know a name: that of a run is the host's. Then the others' are asked for nevertheless.
      for (const nodeName of new Set(empty.map((container) => container.nodeName))) {
        await this.#endEmpty(empty.filter((container) => container.nodeName === nodeName));
      }
    } catch (error) {
      this.#notKnown(error);
    }
  }

  /** @param empty containers that have the same name of the node. */
  async #endEmpty(empty: readonly Container[]): Promise<void> {
    const [first] = empty;
    if (!first) return;
    try {
      const active = await activeJobs(first.nodeName);
      for (const jobId of new Set(empty.map((container) => container.jobId))) {
        if (active.has(jobId)) continue;
        const ended = this.endJob(jobId);
        this.log.warn({ job: jobId, containers: ended }, 'job ended without its epilog reaching berthd');
      }
    } catch (error) {
      this.#notKnown(error);
    }
  }

  /** Without Slurm's word nothing is ended. It is asked again another time. */
  #notKnown(error: unknown): void {
    this.log.warn({ reason: reasonOf(error) }, 'Slurm could not be asked which jobs are on this node');
  }
}

/** Jobs that Slurm has on the node in any state but ended. */
async function activeJobs(node: string): Promise<Set<number>> {
  const { stdout } = await run('squeue', ['--noheader', `--nodelist=${node}`, '--format=%A'], { timeout: 30_000 });
  return new Set(
    stdout
      .split('\n')
      .filter((line) => line !== '')
      .map(Number),
  );
}
