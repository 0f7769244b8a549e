/** npm run bench: side by side on one machine, what Berth costs and what others cost. */
import { UsageError } from './arguments.js';
import type { Bench } from './bench.js';
import { imagesBench } from './images/bench.js';
import { insideBench } from './inside/bench.js';
import { launchBench } from './launch/bench.js';
import { nodeBench } from './node/bench.js';

const benches: ReadonlyMap<string, Bench> = new Map([
  ['launch', launchBench],
  ['images', imagesBench],
  ['inside', insideBench],
  ['node', nodeBench],
]);

function usage(): string {
  const list = [...benches].map(([name, { subject }]) => `  ${name.padEnd(8)}${subject}\n`);
  return `Usage: npm run bench -- COMMAND [OPTION...]\n\n${list.join('')}\n"npm run bench -- COMMAND --help" tells more.\n`;
}

function say(text: string): void {
  process.stderr.write(`bench: ${text}\n`);
}

async function main([name, ...argv]: readonly string[]): Promise<number> {
  const isHelp = (word: string): boolean => word === '--help' || word === '-h';
  if (name === undefined || isHelp(name)) {
    process.stdout.write(usage());
    return 0;
  }
  const bench = benches.get(name);
  if (bench === undefined) {
    throw new UsageError(`there are the commands ${[...benches.keys()].join(', ')}, not "${name}"`);
  }
  if (argv.some(isHelp)) {
    process.stdout.write(bench.usage);
    return 0;
  }
  const abort = new AbortController();
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const)
    process.on(signal, () => {
      abort.abort(signal);
    });
  try {
    process.stdout.write(await bench.run(argv, abort.signal, say));
    return 0;
  } catch (error) {
    if (!abort.signal.aborted) throw error;
    say(`ended by ${String(abort.signal.reason)}`);
    return 130;
  }
}

main(process.argv.slice(2)).then(
  (status) => {
    process.exitCode = status;
  },
  (error: unknown) => {
    process.stderr.write(`bench: ${error instanceof Error ? error.message : String(error)}\n`);
    if (error instanceof UsageError) process.stderr.write('Try: npm run bench -- --help\n');
    process.exitCode = error instanceof UsageError ? 2 : 1;
  },
);
