import type { Writable } from 'node:stream';

/** Where a command writes. */
export interface Terminal {
  /** Lines of the result, each ended by a newline here. */
  readonly print: (text: string) => void;
  /** Remarks and errors. */
  readonly warn: (text: string) => void;
  /** Shows lines that the next ones replace; does nothing where nobody watches. An empty text removes them. */
  readonly progress: (text: string) => void;
  /** Does somebody watch the progress? */
  readonly watched: boolean;
  /** Are results shown to somebody, with room for emphasis? */
  readonly bold: (text: string) => string;
  readonly dim: (text: string) => string;
}

interface Output extends Writable {
  readonly isTTY?: boolean;
  /** Its width in characters, where it is a terminal. */
  readonly columns?: number;
}

/** Colours and progress only where a terminal is; none with NO_COLOR (no-color.org) or TERM=dumb. */
export function makeTerminal(
  stdout: Output,
  stderr: Output,
  env: Readonly<Record<string, string | undefined>>,
): Terminal {
  const dumb = env['TERM'] === 'dumb';
  const colours = stdout.isTTY === true && !dumb && (env['NO_COLOR'] ?? '') === '';
  const watched = stderr.isTTY === true && !dumb;
  const escape = (on: number, off: number) => (text: string) => (colours ? `\x1b[${on}m${text}\x1b[${off}m` : text);
  let shown = 0;
  const clear = (): string => {
    // From the last line up to the first.
    const erase = shown === 0 ? '' : `\r\x1b[K${'\x1b[A\x1b[K'.repeat(shown - 1)}`;
    shown = 0;
    return erase;
  };
  return {
    print: (text) => {
      if (shown > 0) stderr.write(clear());
      stdout.write(`${text}\n`);
    },
    warn: (text) => {
      stderr.write(`${clear()}${text}\n`);
    },
    progress: (text) => {
      if (!watched) return;
      // A line that the terminal breaks in two could not be removed as one.
      const width = (stderr.columns === undefined || stderr.columns === 0 ? 80 : stderr.columns) - 1;
      const lines = text === '' ? [] : text.split('\n').map((line) => line.slice(0, width));
      const output = clear() + lines.join('\n');
      shown = lines.length;
      if (output !== '') stderr.write(output);
    },
    watched,
    bold: escape(1, 22),
    dim: escape(2, 22),
  };
}

/** Text from users, images and files may reach an administrator's terminal: nothing in it may steer that. */
export function plain(text: string): string {
  return text.replace(/[\p{Cc}\p{Bidi_C}]/gu, (c) => `\\u{${(c.codePointAt(0) ?? 0).toString(16)}}`);
}

/** JSON of a value, for programs: that it says the same does not keep it from reaching a terminal, too. */
export function jsonText(value: unknown, indent = 0): string {
  return plainJson(JSON.stringify(value, undefined, indent));
}

/** The same JSON, with escapes for what may steer a terminal and JSON allows as it is: DEL, C1 (CSI is one), directions. */
export function plainJson(text: string): string {
  return text.replace(/[\p{Cc}\p{Bidi_C}]/gu, (c) => {
    // Of these JSON has no others than between its values.
    if (c === '\n' || c === '\r' || c === '\t') return c;
    return `\\u${(c.codePointAt(0) ?? 0).toString(16).padStart(4, '0')}`;
  });
}

export interface Column {
  readonly title: string;
  /** Numbers stand right. */
  readonly right?: boolean;
}

/** Aligned columns under titles. The last column is not padded, so that lines don't end in blanks. */
export function table(columns: readonly Column[], rows: readonly (readonly string[])[], terminal: Terminal): string {
  const cells = rows.map((row) => row.map(plain));
  const widths = columns.map(({ title }, i) => Math.max(title.length, ...cells.map((row) => row[i]?.length ?? 0)));
  const line = (row: readonly string[]): string =>
    columns
      .map(({ right }, i) => {
        const cell = row[i] ?? '';
        if (right) return cell.padStart(widths[i] ?? 0);
        return i === columns.length - 1 ? cell : cell.padEnd(widths[i] ?? 0);
      })
      .join('  ');
  return [terminal.bold(line(columns.map(({ title }) => title))), ...cells.map(line)].join('\n');
}

/** Bytes, in decimal units with three digits: "136 MB". */
export function size(bytes: number): string {
  const units = ['B', 'kB', 'MB', 'GB', 'TB', 'PB'];
  let value = bytes;
  let unit = 0;
  while (value >= 999.5 && unit < units.length - 1) {
    value /= 1000;
    unit++;
  }
  return `${unit === 0 || value >= 99.95 ? Math.round(value) : Number(value.toPrecision(3))} ${units[unit] ?? ''}`;
}

/** A span of time in its largest unit that counts at least two, seconds for what is younger: "42 s", "90 min", "3 d". */
export function age(seconds: number): string {
  const whole = Math.max(0, Math.floor(seconds));
  if (whole < 120) return `${whole} s`;
  if (whole < 2 * 3600) return `${Math.floor(whole / 60)} min`;
  if (whole < 2 * 86_400) return `${Math.floor(whole / 3600)} h`;
  return `${Math.floor(whole / 86_400)} d`;
}

/** "1 rank", "2 ranks" */
export function count(number: number, noun: string): string {
  return `${number} ${noun}${number === 1 ? '' : 's'}`;
}

/** Microseconds as milliseconds: "1.25". */
export function milliseconds(microseconds: number): string {
  return (microseconds / 1000).toFixed(2);
}
