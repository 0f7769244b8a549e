/** The command lines of benches that consist of parts. */
import type { ParseArgsConfig } from 'node:util';
import { commonOptions, commonUsage, parseOptions, UsageError, wholeNumber, type CommonOptions } from '../arguments.js';
import type { Part } from './part.js';

/** @typeParam Own what only this bench can be asked for */
export interface PartsOptions<Own> extends CommonOptions {
  /** What is measured, in this order. */
  readonly parts: readonly Part<Own>[];
  /** The same number for all parts; each has its own when it is not given. */
  readonly rounds?: number;
  /** An existing directory. */
  readonly directory: string;
  readonly own: Own;
}

/** Options that only one bench has. */
export interface OwnOptions<Own> {
  readonly known: NonNullable<ParseArgsConfig['options']>;
  /** Their lines in --help. */
  readonly usage: string;
  /** @throws UsageError */
  readonly read: (values: Readonly<Record<string, unknown>>) => Own;
}

/** What the command line of a bench is made of. */
export interface Described<Own> {
  readonly name: string;
  /** What it measures, in a sentence. */
  readonly purpose: string;
  /** How it does that, how long it takes, and what it leaves. */
  readonly manner: string;
  readonly parts: readonly Part<Own>[];
  readonly own: OwnOptions<Own>;
}

export function usageOf<Own>({ name, purpose, manner, parts, own }: Described<Own>): string {
  const list = parts.map((part) => `  ${part.name.padEnd(20)}${part.subject}\n`).join('');
  return `${purpose}

Usage: npm run bench -- ${name} [PART...] [OPTION...]

Parts; all of them when none is named:
${list}
${manner}

Options:
  --rounds N          rounds of each part, the first of which is not counted
                      (default: ${parts.map((part) => `${part.name} ${part.rounds}`).join(', ')})
${own.usage}  --directory DIR     where everything is, the directory that is shared by the nodes as well (default: /var/tmp)
${commonUsage}`;
}

/** @throws UsageError */
export function readArguments<Own>(argv: readonly string[], { parts, own }: Described<Own>): PartsOptions<Own> {
  const first = argv.findIndex((word) => word.startsWith('-'));
  const names = first === -1 ? argv : argv.slice(0, first);
  const known = parts.map(({ name }) => name);
  for (const name of names) {
    if (!known.includes(name)) throw new UsageError(`there are the parts ${known.join(', ')}, not "${name}"`);
  }
  const rest = argv.slice(names.length);
  const values = parseOptions(rest, {
    rounds: { type: 'string' },
    directory: { type: 'string', default: '/var/tmp' },
    ...own.known,
  });
  return {
    ...commonOptions(values),
    parts: names.length === 0 ? parts : parts.filter(({ name }) => names.includes(name)),
    ...(values.rounds === undefined ? {} : { rounds: wholeNumber('--rounds', values.rounds, 2, 1000) }),
    directory: values.directory,
    own: own.read(values),
  };
}
