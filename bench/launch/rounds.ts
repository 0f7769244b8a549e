/** Taking the samples: every case once in each round, so that whatever slows the machine down slows all of them. */
import type { Progress } from '../bench.js';
import { daemonOf, untilContainers } from '../berthd.js';
import { inTurn } from '../in-turn.js';
import { settle } from '../quiet.js';
import type { Case } from './cases.js';
import { processorTime } from '../daemon-cost.js';
import type { Stage } from './stage.js';
import { LaunchFailure, type Timing } from '../submit-shell.js';

export interface Plan {
  /** The first of them, which warms caches up, is not counted. */
  readonly rounds: number;
  /** Counted rounds that have the slow cases as well. */
  readonly slowRounds: number;
  readonly ranks: readonly number[];
}

export interface Sample extends Timing {
  readonly case: string;
  readonly ranks: number;
  readonly round: number;
  /** False when other programs kept the processors busy until the launch. */
  readonly quiet: boolean;
  /** Milliseconds of processor time that the node's berthd used meanwhile. */
  readonly daemon: number;
}

/** A launch by one of the peers that did not work. */
export interface Failure {
  readonly case: string;
  readonly ranks: number;
  readonly round: number;
  readonly message: string;
}

export interface Samples {
  readonly taken: readonly Sample[];
  readonly failures: readonly Failure[];
}

interface Launch {
  readonly of: Case;
  readonly ranks: number;
}

/** The launches of a round, in turn. */
export function launchesOf(round: number, cases: readonly Case[], plan: Plan): readonly Launch[] {
  const all = plan.ranks.flatMap((ranks) => cases.map((of) => ({ of, ranks })));
  return inTurn(all, round).filter(({ of }) => !of.slow || round <= plan.slowRounds);
}

/**
 * @param beforeCounting is called between the first round and those that count
 * @throws LaunchFailure when a launch that is not a peer's fails
 */
export async function takeSamples(
  stage: Stage,
  plan: Plan,
  signal: AbortSignal,
  say: Progress,
  beforeCounting: () => Promise<void>,
): Promise<Samples> {
  const taken: Sample[] = [];
  const failures: Failure[] = [];
  const berthd = await daemonOf(stage.cluster);
  for (let round = 0; round < plan.rounds; round += 1) {
    say(round === 0 ? 'warm-up round' : `round ${round} of ${plan.rounds - 1}`);
    if (round === 1) await beforeCounting();
    for (const { of, ranks } of launchesOf(round, stage.cases, plan)) {
      signal.throwIfAborted();
      // A container of the same image would lend its loop device: only the warm one may be there.
      if (of.builds) await untilContainers(berthd, 1);
      const quiet = await settle();
      try {
        const before = await processorTime(berthd);
        const timing = await stage.shells[of.place].time(of.command(ranks), ranks);
        const daemon = (await processorTime(berthd)) - before;
        if (round > 0) taken.push({ case: of.id, ranks, round, quiet, daemon, ...timing });
      } catch (error) {
        signal.throwIfAborted();
        if (!of.peer || !(error instanceof LaunchFailure)) throw error;
        failures.push({ case: of.id, ranks, round, message: error.message });
      }
    }
  }
  return { taken, failures };
}
