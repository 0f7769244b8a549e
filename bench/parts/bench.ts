/** Benches that consist of parts: all run on one stage, one after the other. */
import { writeFile } from 'node:fs/promises';
import type { Bench, Progress } from '../bench.js';
import { mustExec } from '../execute.js';
import { describeMachine } from '../machine.js';
import { installPeers } from '../packages.js';
import { user } from '../submit-shell.js';
import { readArguments, usageOf, type Described, type PartsOptions } from './arguments.js';
import type { Part } from './part.js';
import { report, type PartResult, type Results } from './report.js';
import { takeSamples } from './rounds.js';
import { Stage, type Setting } from './stage.js';

export interface BenchOfParts<Own> extends Described<Own> {
  /** One line, for the list of all benches. */
  readonly subject: string;
  /** Debian packages that it needs besides the project's own. */
  readonly packages: readonly string[];
  readonly setting: Setting;
}

export function benchOfParts<Own>(bench: BenchOfParts<Own>): Bench {
  const run = async (argv: readonly string[], signal: AbortSignal, say: Progress): Promise<string> => {
    const options = readArguments(argv, bench);
    if (process.getuid?.() !== 0) throw new Error('The bench needs root: it starts a Slurm cluster on this machine.');
    if (bench.packages.length > 0) await installPeers(bench.packages);
    const { directory } = options;
    const place = { directory, signal, say, ...bench.setting };
    const results = await Stage.use(place, (stage) => measure(stage, options));
    if (options.json !== undefined) await writeFile(options.json, `${JSON.stringify(results, undefined, 2)}\n`);
    return report(results, options.markdown);
  };
  return { subject: bench.subject, usage: usageOf(bench), run };
}

async function measure<Own>(stage: Stage, options: PartsOptions<Own>): Promise<Results> {
  const started = new Date().toISOString();
  const machine = await describeMachine({
    Slurm: await mustExec(stage.cluster, 'login', ['srun', '--version'], { user }),
  });
  const parts: PartResult[] = [];
  for (const part of options.parts) parts.push(await measurePart(part, stage, options));
  const targets = options.parts.flatMap((part, index) => part.targets(parts[index]?.samples ?? []));
  return { started, machine, parts, targets };
}

async function measurePart<Own>(part: Part<Own>, stage: Stage, options: PartsOptions<Own>): Promise<PartResult> {
  const { name, heading, columns } = part;
  const rounds = options.rounds ?? part.rounds;
  const { variants, notes } = await part.prepare(stage, options.own);
  const samples = await takeSamples(name, variants, rounds, stage.signal, stage.say);
  await stage.endPart();
  const described = variants.map(({ group, id, title }) => ({ group, id, title }));
  return { name, heading, columns, rounds, variants: described, notes, samples };
}
