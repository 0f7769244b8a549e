/** What the command lines of all benches have in common. */
import { resolve } from 'node:path';
import { parseArgs, type ParseArgsConfig } from 'node:util';

/** A command line that cannot be understood. */
export class UsageError extends Error {}

/** Options that every bench has. */
export interface CommonOptions {
  /** Where every sample, the machine and the targets go. */
  readonly json?: string;
  readonly markdown: boolean;
}

export const commonUsage = `  --json FILE         write every sample, the machine and the targets to a file
  --markdown          print tables as Markdown, as docs/performance.md has them
  --help              print this

Times decide no exit status: 0 when everything was measured, 1 when something failed, 2 for a wrong command line.
`;

/** @throws UsageError */
export function parseOptions<const Options extends NonNullable<ParseArgsConfig['options']>>(
  argv: readonly string[],
  options: Options,
) {
  try {
    const { values } = parseArgs({ args: [...argv], options: { ...options, ...common } });
    return values;
  } catch (error) {
    throw new UsageError(error instanceof Error ? error.message : String(error), { cause: error });
  }
}

const common = { json: { type: 'string' }, markdown: { type: 'boolean', default: false } } as const;

export function commonOptions(values: { json?: string | undefined; markdown: boolean }): CommonOptions {
  return {
    markdown: values.markdown,
    // npm runs its scripts in the project's directory, whatever the caller's is.
    ...(values.json === undefined ? {} : { json: resolve(process.env['INIT_CWD'] ?? '.', values.json) }),
  };
}

/** @throws UsageError */
export function wholeNumber(option: string, text: string, least: number, most: number): number {
  const value = /^\d{1,6}$/.test(text) ? Number(text) : Number.NaN;
  if (value >= least && value <= most) return value;
  throw new UsageError(`${option} takes whole numbers from ${least} to ${most}, not "${text}"`);
}

/** Whole numbers with commas between them, each once. */
export function wholeNumbers(option: string, text: string, least: number, most: number): readonly number[] {
  return [...new Set(text.split(','))].map((each) => wholeNumber(option, each, least, most));
}
