import type { Entry, ManualPage, Section } from './page.js';

const WIDTH = 80;

/**
 * A manual page as text within 80 columns.
 *
 * @param emphasise what makes a title stand out.
 */
export function manualText(page: ManualPage, emphasise: (title: string) => string): string {
  const lines = (title: string, body: readonly string[]): string[] =>
    body.length === 0 ? [] : ['', emphasise(title), ...body];
  return [
    ...lines('NAME', indent(`${page.name} - ${page.summary}`, 4)),
    ...lines(
      'SYNOPSIS',
      page.synopsis.flatMap((line) => indent(line, 4, 8)),
    ),
    ...page.sections.flatMap((section) => lines(section.title, sectionText(section))),
  ]
    .slice(1)
    .join('\n');
}

function sectionText({ entries, beside }: Section): string[] {
  return entries.flatMap((entry, i) => [
    ...(i > 0 && typeof entry === 'string' ? [''] : []),
    ...entryText(entry, beside),
  ]);
}

function entryText(entry: Entry, beside: number | undefined): string[] {
  if (typeof entry === 'string') return indent(entry, 4);
  if (beside !== undefined) return indent(entry.term.padEnd(beside) + entry.text, 4, 4 + beside);
  return [`    ${entry.term}`, ...indent(entry.text, 8)];
}

/** Wraps a paragraph; its lines after the first may stand further in. */
function indent(text: string, first: number, rest = first): string[] {
  const lines: string[] = [];
  let line = ' '.repeat(first);
  let empty = true;
  // Runs of blanks align columns and stay; a line breaks only at single ones.
  for (const word of text.split(/(?<! ) (?! )/)) {
    if (!empty && line.length + 1 + word.length > WIDTH) {
      lines.push(line);
      line = ' '.repeat(rest) + word;
    } else {
      line += empty ? word : ` ${word}`;
    }
    empty = false;
  }
  return [...lines, line];
}
