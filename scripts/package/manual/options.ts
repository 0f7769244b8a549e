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

/** What adjacent string literals of C are together. */
function literal(text: string): string {
  return [...text.matchAll(/"((?:[^"\\]|\\.)*)"/g)].map(([, inner = '']) => inner.replace(/\\(.)/g, '$1')).join('');
}
