import { readFileSync } from 'node:fs';
import { join } from 'node:path';

/** An option that the plugin adds to srun, salloc and sbatch. */
export interface PluginOption {
  readonly name: string;
  readonly value: string | undefined;
  readonly help: string;
}

/**
 * The plugin's options, from the table that `srun --help` shows too. Rows without help are for environment files and the
 * like, no options of srun.
 *
 * @throws Error when slurm/table.c does not look as expected.
 */
export function pluginOptions(root: string): PluginOption[] {
  const text = readFileSync(join(root, 'slurm', 'table.c'), 'utf8');
  const [, table] = /option_rows\[OPTION_ROWS\] = \{\n([\s\S]*?)\n\};/.exec(text) ?? [];
  if (table === undefined) throw new Error('slurm/table.c has no option_rows');
  const rows = [...table.matchAll(/\{("\w[^"]*"),\s*("[^"]*"|NULL),\s*(NULL|HELP(?:\s*"(?:[^"\\]|\\.)*")+),/g)];
  if (rows.length !== [...table.matchAll(/SLOT_/g)].length) throw new Error('slurm/table.c has rows of another form');
  return rows.flatMap(([, name = '', value = '', help = '']) => {
    if (help === 'NULL') return [];
    return [{ name: literal(name), value: value === 'NULL' ? undefined : literal(value), help: literal(help) }];
  });
}

/**
 * The options of `shifter`, from the text that `shifter --help` shows.
 *
 * @throws Error when native/client/shifter.c does not look as expected.
 */
export function shifterOptions(root: string): { term: string; text: string }[] {
  const source = readFileSync(join(root, 'native', 'client', 'shifter.c'), 'utf8');
  const [, help] = /help\[\] =\n((?: *"(?:[^"\\]|\\.)*"\n?)+);/.exec(source) ?? [];
  const lines = (help ?? '').split('\n').flatMap((line) => /^ *" {2,}((?:-\w, +)?--\S+) *(.*)\\n"$/.exec(line) ?? []);
  if (lines.length === 0) throw new Error('native/client/shifter.c has no options');
  return Array.from({ length: lines.length / 3 }, (_, i) => ({
    term: lines[3 * i + 1] ?? '',
    text: sentence(lines[3 * i + 2] ?? ''),
  }));
}

function sentence(text: string): string {
  return text === '' ? 'As srun takes it: spank_berth(8).' : `${text.charAt(0).toUpperCase()}${text.slice(1)}.`;
}

/** What adjacent string literals of C are together. */
function literal(text: string): string {
  return [...text.matchAll(/"((?:[^"\\]|\\.)*)"/g)].map(([, inner = '']) => inner.replace(/\\(.)/g, '$1')).join('');
}
