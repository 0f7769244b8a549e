/** npm run bench -- launch: what a launch costs. */
import { writeFile } from 'node:fs/promises';
import { requireCommand } from '../../test/cluster/command.js';
import type { Bench, Progress } from '../bench.js';
import { BuildLog } from '../berthd.js';
import { mustExec } from '../execute.js';
import { describeMachine, type Machine } from '../machine.js';
import { installPeers, peers } from '../packages.js';
import { user } from '../submit-shell.js';
import { readArguments, usage, type Options } from './arguments.js';
import { idleCost, joins, startTimes } from '../daemon-cost.js';
import { report, type Results } from './report.js';
import { takeSamples } from './rounds.js';
import { Stage } from './stage.js';
import { summarize } from './summary.js';
import { checkTargets } from './targets.js';

export const launchBench: Bench = { subject: 'what a launch costs, beside bare srun and other tools', usage, run };

async function run(argv: readonly string[], signal: AbortSignal, say: Progress): Promise<string> {
  const options = readArguments(argv);
  if (process.getuid?.() !== 0) throw new Error('The bench needs root: it starts a Slurm cluster on this machine.');
  await installPeers(peers.launch);
  const results = await Stage.use(signal, say, (stage) => measure(stage, options, signal, say));
  if (options.json !== undefined) await writeFile(options.json, `${JSON.stringify(results, undefined, 2)}\n`);
  return report(results, options.markdown);
}

async function measure(stage: Stage, options: Options, signal: AbortSignal, progress: Progress): Promise<Results> {
  const started = new Date().toISOString();
  const { cluster, cases } = stage;
  const machine = await machineOf(stage);
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

async function machineOf({ cluster }: Stage): Promise<Machine> {
  return describeMachine({
    Slurm: await mustExec(cluster, 'login', ['srun', '--version'], { user }),
    podman: await requireCommand(['podman', '--version']),
    crun: await requireCommand(['crun', '--version']),
    Charliecloud: await mustExec(cluster, 'n1', ['sh', '-c', 'ch-run --version 2>&1'], { user }),
  });
}
