import type { Entry, ManualPage, Section } from '../../../src/manual/index.js';

/** Where a page for man(1) belongs, and what stands in its margins. */
export interface Margins {
  /** 1 for commands, 5 for files, 8 for administrators. */
  readonly section: number;
  readonly version: string;
  /** YYYY-MM-DD. */
  readonly date: string;
}

const WIDTH = 78;

/** Around what is to be emphasised: characters that no text has. */
const [EMPHASIS, PLAIN] = ['\uE000', '\uE001'];

/** Text with Markdown's `code` and **emphasis**, for {@link roff} to show. */
export function fromMarkdown(text: string): string {
  return text
    .replace(/`([^`]*)`/g, `${EMPHASIS}$1${PLAIN}`)
    .replace(/\*\*([^*]*)\*\*/g, `${EMPHASIS}$1${PLAIN}`)
    .replace(/\[([^\]]*)\]\([^)]*\)/g, '$1');
}

/** A manual page in the language of man(7). */
export function roff(page: ManualPage, { section, version, date }: Margins): string {
  // Programs that index pages take the name up to the first blank.
  const name = page.name.replaceAll(' ', '-');
  return [
    `.TH ${quote(name.toUpperCase())} ${section} "${date}" ${quote(`Berth ${version}`)} ${quote('Berth')}`,
    // Neither hyphens nor wide gaps: what is shown is often copied into a terminal.
    '.nh',
    '.ad l',
    '.SH NAME',
    ...lines(`${name} - ${page.summary}`),
    '.SH SYNOPSIS',
    ...page.synopsis.flatMap((text, i) => [...(i > 0 ? ['.br'] : []), ...lines(text)]),
    ...page.sections.filter(({ entries }) => entries.length > 0).flatMap(sectionLines),
    '',
  ].join('\n');
}

function sectionLines({ title, entries, beside }: Section): string[] {
  return [`.SH ${title}`, ...entries.flatMap((entry, i) => entryLines(entry, i, beside))];
}

function entryLines(entry: Entry, at: number, beside: number | undefined): string[] {
  if (typeof entry === 'string') return [...(at > 0 ? ['.PP'] : []), ...lines(entry)];
  return [
    beside === undefined ? '.TP' : `.TP ${Math.max(beside, 8)}n`,
    // A term has to be one line.
    protect(escape(`${EMPHASIS}${entry.term}${PLAIN}`)),
    ...lines(entry.text),
  ];
}

/** A paragraph in lines of at most {@link WIDTH} characters as they are written here. */
function lines(text: string): string[] {
  const made: string[] = [];
  for (const word of escape(text).split(/(?<! ) (?! )/)) {
    const last = made.at(-1);
    if (last !== undefined && last.length + 1 + word.length <= WIDTH) made[made.length - 1] = `${last} ${word}`;
    else made.push(word);
  }
  return made.map(protect);
}

/** A dot or quote at the beginning of a line of text is no request. */
function protect(text: string): string {
  return text.replace(/^[.']/, '\\&$&');
}

/** As typed: roff would otherwise show hyphens, quotes and accents that no shell understands. */
function escape(text: string): string {
  return text
    .replace(/\\/g, '\\e')
    .replace(/[-'`^~]/g, (character) => SUBSTITUTES[character] ?? character)
    .replaceAll(EMPHASIS, '\\fB')
    .replaceAll(PLAIN, '\\fR')
    .replace(/[^\0-\x7f]/gu, (character) => {
      const number = (character.codePointAt(0) ?? 0).toString(16).toUpperCase().padStart(4, '0');
      return `\\[u${number}]`;
    });
}

const SUBSTITUTES: Readonly<Record<string, string>> = {
  '-': '\\-',
  "'": '\\(aq',
  '`': '\\(ga',
  '^': '\\(ha',
  '~': '\\(ti',
};

function quote(text: string): string {
  return `"${escape(text)}"`;
}
