import { allKeys, type Key } from './keys.js';

const WIDTH = 100;

/** The berth.toml that packages install: every key, explained, with its default as a comment. */
export function defaultConfiguration(): string {
  const tables = [...new Set(allKeys.map(({ table }) => table))];
  return [
    '# The configuration of berthd, which reads it when it starts (systemctl restart berthd).',
    '# Every key is here with its default. To change one, take away the # before it.',
    '#   berth config check   tests this file',
    '#   berth config show    shows what is in force',
    ...tables.flatMap((table) => [
      '',
      `[${table}]`,
      ...allKeys.filter((key) => key.table === table).flatMap((key) => ['', ...keyLines(key)]),
    ]),
    '',
  ].join('\n');
}

function keyLines({ name, kind }: Key): string[] {
  const text = kind.description.replace(/`([^`]*)`/g, '$1').replace(/\*\*([^*]*)\*\*/g, '$1');
  return [...comment(text), ...comment(`Value: ${kind.expected}`), `#${name} = ${kind.show(kind.default)}`];
}

function comment(text: string): string[] {
  const lines: string[] = [];
  for (const word of text.split(' ')) {
    const last = lines.at(-1);
    if (last !== undefined && last.length + 1 + word.length <= WIDTH) lines[lines.length - 1] = `${last} ${word}`;
    else lines.push(`# ${word}`);
  }
  return lines;
}
