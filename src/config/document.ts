import { allKeys } from './keys.js';
import { DEFAULT_CONFIG_PATH } from './load.js';

/** docs/configuration.md: every key of the table. */
export function configurationPage(): string {
  const lines = [
    '# Configuration',
    '',
    `berthd reads \`${DEFAULT_CONFIG_PATH}\` when it starts. The file is TOML; every key has a default, and without a file`,
    'all of them apply. It must belong to root and be writable by root alone. An unknown table or key, a wrong type or a',
    'value out of bounds stops berthd from starting, with file, line and what was expected.',
    '',
    '- `berth config check [FILE]` tests a file and shows everything that is wrong with it.',
    '- `berth config show` shows the value of every key and where it comes from.',
    '',
    'Written from the tables in `src/config/tables` by `npx vitest run test/unit/config.test.ts -u`.',
  ];
  let table = '';
  for (const key of allKeys) {
    if (key.table !== table) lines.push('', `## [${key.table}]`);
    table = key.table;
    const { kind } = key;
    lines.push('', `### ${key.name}`, '', kind.description, '');
    lines.push(`- Value: ${kind.expected}`, `- Default: \`${kind.show(kind.default)}\``);
  }
  return `${lines.join('\n')}\n`;
}
