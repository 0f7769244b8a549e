/** npm run bench -- images: reading from images and making them. */
import { chmod, mkdtemp, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Bench, Progress } from '../bench.js';
import { describeMachine, type Machine } from '../machine.js';
import { readArguments, usage, type Options } from './arguments.js';
import { measureMaking } from './making/bench.js';
import { makingTargets } from './making/summary.js';
import { run as runProgram } from '../program.js';
import { measureReading } from './reading/bench.js';
import { report, type Results } from './report.js';

export const imagesBench: Bench = { subject: 'reading from images, and making them', usage, run };

async function run(argv: readonly string[], signal: AbortSignal, say: Progress): Promise<string> {
  const options = readArguments(argv);
  if (process.getuid?.() !== 0) throw new Error('The bench needs root: it mounts images and drops caches.');
  const base = await mkdtemp(join(options.directory, 'berth-bench-'));
  let results: Results;
  try {
    await chmod(base, 0o755);
    results = await measure(options, base, signal, say);
  } finally {
    say('cleaning up');
    // Should something still be mounted there, it is not emptied.
    await runProgram(['rm', '--recursive', '--one-file-system', '--force', base]);
  }
  if (options.json !== undefined) await writeFile(options.json, `${JSON.stringify(results, undefined, 2)}\n`);
  return report(results, options.markdown);
}

async function measure(options: Options, base: string, signal: AbortSignal, say: Progress): Promise<Results> {
  const started = new Date().toISOString();
  const { reading: readingPlan, making: makingPlan } = options;
  const reading = readingPlan && (await measureReading(readingPlan, base, signal, say));
  const making = makingPlan && (await measureMaking(makingPlan, base, signal, say));
  return {
    started,
    machine: await machineOf(options),
    ...(readingPlan && reading ? { readingPlan, reading } : {}),
    ...(makingPlan && making ? { makingPlan, making } : {}),
    targets: making === undefined ? [] : makingTargets(making),
  };
}

async function machineOf({ reading, making }: Options): Promise<Machine> {
  const of = (argv: readonly string[]) => runProgram(['sh', '-c', '"$@" 2>&1 || true', 'sh', ...argv]);
  return describeMachine({
    mksquashfs: await of(['mksquashfs', '-version']),
    ...(reading === undefined
      ? {}
      : { 'mkfs.erofs': await of(['mkfs.erofs', '--version']), squashfuse: await of(['squashfuse', '--help']) }),
    ...(making === undefined
      ? {}
      : { skopeo: await of(['skopeo', '--version']), umoci: await of(['umoci', '--version']) }),
  });
}
