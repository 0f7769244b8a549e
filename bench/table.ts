/** Tables for people, as text or as Markdown. */

export interface Table {
  readonly heading: string;
  /** The first column is text, the others are numbers. */
  readonly columns: readonly string[];
  readonly rows: readonly (readonly string[])[];
}

/** The parts of a report with empty lines between them. */
export function asReport(parts: readonly (string | Table)[], markdown: boolean): string {
  const render = markdown ? asMarkdown : asText;
  return parts.map((part) => (typeof part === 'string' ? part : render(part))).join('\n\n') + '\n';
}

function asText({ heading, columns, rows }: Table): string {
  const all = [columns, ...rows];
  const widths = columns.map((_, index) => Math.max(...all.map((row) => (row[index] ?? '').length)));
  const lines = all.map((row) =>
    row
      .map((cell, index) => (index === 0 ? cell.padEnd(widths[0] ?? 0) : cell.padStart(widths[index] ?? 0)))
      .join('  ')
      .trimEnd(),
  );
  return [heading, ...lines.map((line) => `  ${line}`)].join('\n');
}

function asMarkdown({ heading, columns, rows }: Table): string {
  const line = (cells: readonly string[]): string => `| ${cells.join(' | ')} |`;
  const ruler = columns.map((_, index) => (index === 0 ? '---' : '---:'));
  return [`### ${heading}`, '', line(columns), line(ruler), ...rows.map(line)].join('\n');
}
