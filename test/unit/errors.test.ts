import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import ts from 'typescript';
import { describe, expect, it } from 'vitest';
import { BerthError, errorTable, formatError, reasonOf, RemoteError, toErrorMessage } from '../../src/errors/index.js';

const root = fileURLToPath(new URL('../..', import.meta.url));
const table = errorTable();

/** Files of a room, by ending, without what is generated. */
function sources(room: string, ending: RegExp): { path: string; text: string }[] {
  return readdirSync(join(root, room), { recursive: true, encoding: 'utf8' })
    .filter((path) => ending.test(path) && !path.includes('generated'))
    .map((path) => ({ path: join(room, path), text: readFileSync(join(root, room, path), 'utf8') }));
}

function placeholders(...templates: readonly string[]): string[] {
  const names = templates.flatMap((template) => [...template.matchAll(/\{(\w+)\}/g)].map(([, name = '']) => name));
  return [...new Set(names)].sort();
}

interface Use {
  readonly where: string;
  readonly code: string;
  /** Undefined where the parameters are not written out. */
  readonly parameters: readonly string[] | undefined;
}

/** Every `new BerthError('CODE', { … })` and `super('CODE', { … })` of the sources. */
function uses(): Use[] {
  const found: Use[] = [];
  for (const { path, text } of sources('src', /\.ts$/)) {
    const file = ts.createSourceFile(path, text, ts.ScriptTarget.Latest, true);
    const visit = (node: ts.Node): void => {
      if (
        ts.isNewExpression(node) ||
        (ts.isCallExpression(node) && node.expression.kind === ts.SyntaxKind.SuperKeyword)
      ) {
        const [code, parameters] = node.arguments ?? [];
        if (code && ts.isStringLiteral(code) && code.text.startsWith('BERTH_')) {
          const { line } = file.getLineAndCharacterOfPosition(node.getStart());
          found.push({ where: `${path}:${line + 1}`, code: code.text, parameters: names(parameters) });
        }
      }
      ts.forEachChild(node, visit);
    };
    visit(file);
  }
  return found;
}

function names(expression: ts.Expression | undefined): string[] | undefined {
  if (!expression || !ts.isObjectLiteralExpression(expression)) return undefined;
  return expression.properties.flatMap((property) =>
    property.name && (ts.isIdentifier(property.name) || ts.isStringLiteral(property.name))
      ? [property.name.text]
      : ['…'],
  );
}

describe('the table of errors', () => {
  it('has codes of one form, each once', () => {
    const codes = table.map(({ code }) => code);
    for (const code of codes) expect(code).toMatch(/^BERTH_[A-Z]+(_[A-Z]+)*$/);
    expect(new Set(codes).size).toBe(codes.length);
  });

  it.each(table.map((row) => [row.code, row] as const))('%s says what, why and what to do', (_, row) => {
    for (const sentence of [row.what, row.why, row.hint]) {
      expect(sentence.trim()).toBe(sentence);
      expect(sentence).not.toBe('');
      expect(sentence).not.toMatch(/[.\n]$/);
    }
    expect(row.exit).toBeGreaterThan(0);
    expect(row.exit).toBeLessThan(128);
  });

  it.each(table.map((row) => [row.code, row] as const))('%s is in docs/errors.md with all it says', (_, row) => {
    const page = readFileSync(join(root, 'docs/errors.md'), 'utf8');
    expect(page).toContain(
      `## ${row.code}\n\n${row.what}\n\n- Why: ${row.why}\n- What to do: ${row.hint}\n- Exit status: ${row.exit}\n`,
    );
  });

  const everything = [...sources('src', /\.ts$/), ...sources('native', /\.(c|cc|h)$/), ...sources('slurm', /\.(c|h)$/)];

  it.each(table.map(({ code }) => code))('%s is given somewhere', (code) => {
    const word = new RegExp(`\\b${code}\\b`);
    expect(
      everything.filter(({ text }) => word.test(text.replace(/^\s*(\*|\/\/).*$/gm, ''))).map(({ path }) => path),
    ).not.toEqual([]);
  });

  it('knows every code that is given anywhere', () => {
    const known = new Set<string>(table.map(({ code }) => code));
    for (const { where, code } of uses()) expect(known, where).toContain(code);
    for (const { path, text } of everything.filter(({ path: each }) => !each.endsWith('.ts'))) {
      for (const [, code = ''] of text.matchAll(/BERTH_FAIL\(\s*[^,]+,\s*(BERTH_\w+)/g))
        expect([...known, 'NAME'], path).toContain(code);
    }
  });

  it('gets all that its braces ask for, and nothing else, wherever it is used', () => {
    const rows = new Map(table.map((row) => [row.code, placeholders(row.what, row.why, row.hint)]));
    const found = uses().filter(({ parameters }) => parameters !== undefined);
    expect(found.length).toBeGreaterThan(40);
    for (const { where, code, parameters } of found)
      expect(parameters?.toSorted(), `${code} at ${where}`).toEqual(rows.get(code));
  });
});

describe('an error', () => {
  it('fills in the braces of its row', () => {
    const error = new BerthError('BERTH_JOB_ENDED', { job: 7, host: 'n1' });
    expect(error).toMatchObject({
      code: 'BERTH_JOB_ENDED',
      exitStatus: 3,
      what: 'job 7 has ended on n1',
      hint: 'start a new job',
    });
    expect(error.message).toBe(
      'BERTH_JOB_ENDED: job 7 has ended on n1: its containers are gone, so nothing can be started in them',
    );
  });

  it('is reported even where a word is missing', () => {
    expect(new BerthError('BERTH_JOB_ENDED', { job: 7 }).what).toBe('job 7 has ended on {host}');
  });

  it('puts in words as they are: braces and dollar signs in them mean nothing', () => {
    expect(new BerthError('BERTH_JOB_ENDED', { job: '{host}', host: '$& $1 {job}' }).what).toBe(
      'job {host} has ended on $& $1 {job}',
    );
  });

  it('shows as three lines on a terminal, whatever is in the words', () => {
    const shown = formatError(new BerthError('BERTH_USAGE', { what: 'a\nb', why: '\x1b[2J', command: 'x' }));
    expect(shown.split('\n')).toEqual([
      'berth: BERTH_USAGE: a\\x0ab',
      'berth:   why: \\x1b[2J',
      'berth:   hint: x --help shows how it is called',
    ]);
  });

  it.each([
    ['listen EADDRINUSE: address already in use 127.0.0.1:1', 'listen: address already in use 127.0.0.1:1'],
    ['EADDRINUSE: address already in use', 'address already in use'],
    ['connect EADDRINUSE', 'connect: address already in use'],
  ])("has the system's words once: %s", (message, words) => {
    expect(reasonOf(Object.assign(new Error(message), { code: 'EADDRINUSE' }))).toBe(words);
  });

  it('that nobody foresaw is BERTH_INTERNAL, with its cause and without its stack', () => {
    const cause = new TypeError('x is not a function');
    const message = toErrorMessage(cause);
    expect(message).toMatchObject({ code: 'BERTH_INTERNAL', exitStatus: 1, why: 'x is not a function' });
    expect(formatError(message)).not.toMatch(/^\s+at /m);
    expect(toErrorMessage('a string').why).toBe('a string');
  });

  it('that came in a reply is shown in the words of its sender', () => {
    const remote = new RemoteError({ code: 'BERTH_FROM_THE_FUTURE', exitStatus: 9, what: 'w', why: 'y', hint: 'h' });
    expect(toErrorMessage(remote)).toBe(remote);
    expect(formatError(remote)).toBe('berth: BERTH_FROM_THE_FUTURE: w\nberth:   why: y\nberth:   hint: h');
  });
});
