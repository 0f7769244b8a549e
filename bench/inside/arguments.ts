/** The command line of the inside bench. */
import { commonOptions, commonUsage, parseOptions, UsageError, wholeNumber, type CommonOptions } from '../arguments.js';
import { processorsPerNode } from '../../test/cluster/slurm-configuration.js';
import type { Part } from './part.js';

export interface Options extends CommonOptions {
  /** What is measured, in this order. */
  readonly parts: readonly Part[];
  /** The same number for all parts; each has its own when it is not given. */
  readonly rounds?: number;
  /** Of the import storm. */
  readonly ranks: number;
  /** Also import with nothing in the page cache. */
  readonly cold: boolean;
  /** An existing directory. */
  readonly directory: string;
}

export function usageOf(parts: readonly Part[]): string {
  const list = parts.map(({ name, subject }) => `  ${name.padEnd(20)}${subject}\n`).join('');
  return `What being in a container costs: its launch with all that may be mounted there, and programs in it.

Usage: npm run bench -- inside [PART...] [OPTION...]

Parts; all of them when none is named:
${list}
Starts a private Slurm cluster on this machine and runs everything in turn, inside and outside. Takes about six minutes,
needs root, and leaves nothing behind but the Debian packages that it installs when they are missing (xfsprogs,
e2fsprogs) and the root file systems, under build/. Best run while nothing else does.

Options:
  --rounds N          rounds of each part, the first of which is not counted
                      (default: ${parts.map(({ name, rounds }) => `${name} ${rounds}`).join(', ')})
  --ranks N           that import at once, 1 to ${processorsPerNode} (default: ${processorsPerNode})
  --cold              also import with cold caches: drops those of the whole machine, over and over
  --directory DIR     where everything is, the directory that is shared by the nodes as well (default: /var/tmp)
${commonUsage}`;
}

/** @throws UsageError */
export function readArguments(argv: readonly string[], all: readonly Part[]): Options {
  const first = argv.findIndex((word) => word.startsWith('-'));
  const names = first === -1 ? argv : argv.slice(0, first);
  const known = all.map(({ name }) => name);
  for (const name of names) {
    if (!known.includes(name)) throw new UsageError(`there are the parts ${known.join(', ')}, not "${name}"`);
  }
  const values = parseOptions(argv.slice(names.length), {
    rounds: { type: 'string' },
    ranks: { type: 'string', default: String(processorsPerNode) },
    cold: { type: 'boolean', default: false },
    directory: { type: 'string', default: '/var/tmp' },
  });
  return {
    ...commonOptions(values),
    parts: names.length === 0 ? all : all.filter(({ name }) => names.includes(name)),
    ...(values.rounds === undefined ? {} : { rounds: wholeNumber('--rounds', values.rounds, 2, 1000) }),
    ranks: wholeNumber('--ranks', values.ranks, 1, processorsPerNode),
    cold: values.cold,
    directory: values.directory,
  };
}
