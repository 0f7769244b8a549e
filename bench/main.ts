/** npm run bench: what a launch costs. */
import { writeFile } from 'node:fs/promises';
import { readArguments, usage, UsageError, type Options } from './arguments.js';
import { BuildLog, idleCost, joins, startTimes } from './daemon-cost.js';
import { describeMachine } from './machine.js';
import { installPeers } from './packages.js';
import { report, type Results } from './report.js';
import { takeSamples } from './rounds.js';
import { Stage, type Progress } from './stage.js';
import { summarize } from './summary.js';
import { checkTargets } from './targets.js';

function say(text: string): void {
  process.stderr.write(`bench: ${text}\n`);
}

async function measure(stage: Stage, options: Options, signal: AbortSignal, progress: Progress): Promise<Results> {
  const started = new Date().toISOString();
  const { cluster, cases } = stage;
  const machine = await describeMachine(cluster);
  const { rounds, slowRounds, ranks, settleSeconds, idleSeconds } = options;
  const plan = { rounds, slowRounds, ranks };
  let log = await BuildLog.from(cluster);
  const samples = await takeSamples(stage, plan, signal, progress, async () => {
    log = await BuildLog.from(cluster);
  });
  const builds = await log.builds();
  const joined = await joins(cluster);
  await stage.closeShells();
  let idle;
  if (idleSeconds > 0) {
    progress(`berthd does nothing for ${settleSeconds + idleSeconds} s`);
    idle = await idleCost(cluster, settleSeconds, idleSeconds, signal);
  }
  progress('berthd starts');
  const starts = await startTimes(cluster, signal);
  const rows = summarize(cases, ranks, samples);
  return {
    started,
    machine,
    plan,
    rows,
    targets: checkTargets(rows, builds, idle),
    builds,
    joins: joined,
    ...(idle === undefined ? {} : { idle }),
    starts,
    samples: samples.taken,
    failures: samples.failures,
  };
}

async function main(): Promise<number> {
  const options = readArguments(process.argv.slice(2));
  if (options === undefined) {
    process.stdout.write(usage);
    return 0;
  }
  if (process.getuid?.() !== 0) throw new Error('The bench needs root: it starts a Slurm cluster on this machine.');
  const abort = new AbortController();
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const)
    process.on(signal, () => {
      abort.abort(signal);
    });
  try {
    await installPeers();
    const results = await Stage.use(abort.signal, say, (stage) => measure(stage, options, abort.signal, say));
    if (options.json !== undefined) await writeFile(options.json, `${JSON.stringify(results, undefined, 2)}\n`);
    process.stdout.write(report(results, options.markdown));
    return 0;
  } catch (error) {
    if (!abort.signal.aborted) throw error;
    say(`ended by ${String(abort.signal.reason)}`);
    return 130;
  }
}

main().then(
  (status) => {
    process.exitCode = status;
  },
  (error: unknown) => {
    process.stderr.write(`bench: ${error instanceof Error ? error.message : String(error)}\n`);
    if (error instanceof UsageError) process.stderr.write('Try: npm run bench -- --help\n');
    process.exitCode = error instanceof UsageError ? 2 : 1;
  },
);
