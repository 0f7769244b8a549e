/** npm run bench -- inside: what being in a container costs. */
import { writeFile } from 'node:fs/promises';
import type { Bench, Progress } from '../bench.js';
import { mustExec } from '../execute.js';
import { describeMachine } from '../machine.js';
import { installPeers, peers } from '../packages.js';
import { user } from '../submit-shell.js';
import { readArguments, usageOf, type Options } from './arguments.js';
import { cachePart } from './cache/part.js';
import { importsPart } from './imports/part.js';
import { lammpsPart } from './lammps/part.js';
import { launchPart } from './launch/part.js';
import { memoryPart } from './memory/part.js';
import type { Part } from './part.js';
import { report, type PartResult, type Results } from './report.js';
import { takeSamples } from './rounds.js';
import { Stage } from './stage.js';

export const allParts: readonly Part[] = [launchPart, cachePart, memoryPart, lammpsPart, importsPart];

export const insideBench: Bench = {
  subject: 'being in a container: mounts, root, caches, memory, programs',
  usage: usageOf(allParts),
  run,
};

async function run(argv: readonly string[], signal: AbortSignal, say: Progress): Promise<string> {
  const options = readArguments(argv, allParts);
  if (process.getuid?.() !== 0) throw new Error('The bench needs root: it starts a Slurm cluster on this machine.');
  await installPeers(peers.inside);
  const { directory } = options;
  const results = await Stage.use({ directory, signal, say }, (stage) => measure(stage, options));
  if (options.json !== undefined) await writeFile(options.json, `${JSON.stringify(results, undefined, 2)}\n`);
  return report(results, options.markdown);
}

async function measure(stage: Stage, options: Options): Promise<Results> {
  const started = new Date().toISOString();
  const machine = await describeMachine({
    Slurm: await mustExec(stage.cluster, 'login', ['srun', '--version'], { user }),
  });
  const parts: PartResult[] = [];
  for (const part of options.parts) parts.push(await measurePart(part, stage, options));
  const targets = options.parts.flatMap((part, index) => part.targets(parts[index]?.samples ?? []));
  return { started, machine, parts, targets };
}

async function measurePart(part: Part, stage: Stage, options: Options): Promise<PartResult> {
  const { name, heading, columns } = part;
  const rounds = options.rounds ?? part.rounds;
  const { variants, notes } = await part.prepare(stage, options);
  const samples = await takeSamples(name, variants, rounds, stage.signal, stage.say);
  await stage.closeShells();
  const described = variants.map(({ group, id, title }) => ({ group, id, title }));
  return { name, heading, columns, rounds, variants: described, notes, samples };
}
