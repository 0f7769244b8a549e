import { parseTOML, ParseError, type AST } from 'toml-eslint-parser';
import { BerthError } from '../errors/index.js';
import { allKeys, camelCase, type Config, type Key } from './keys.js';
import { Unfit } from './kinds.js';
import { rules } from './rules.js';
import { nearest } from './suggest.js';

/** Where a value came from: the default, or a line of a file. */
export type Origin = { readonly file: string; readonly line: number } | 'default';

/** The origin of each key, by its title, e.g. "[store] path". */
export type Origins = ReadonlyMap<string, Origin>;

export interface Parsed {
  readonly config: Config;
  readonly origins: Origins;
  /** What is wrong with the file, in the order of its lines. The configuration holds defaults in these places. */
  readonly problems: readonly BerthError[];
}

interface Problem {
  readonly line: number;
  readonly what: string;
  readonly why: string;
}

const tables = [...new Set(allKeys.map((key) => key.table))];
const tableList = tables.map((table) => `[${table}]`).join(', ');

/** Reads the text of a configuration file; `file` is what its problems call it. Never throws for a bad text. */
export function parseConfig(text: string, file: string): Parsed {
  const reader = new Reader(text, file);
  reader.read();
  return reader.finish();
}

class Reader {
  readonly #problems: Problem[] = [];
  readonly #values = new Map<Key, unknown>();
  readonly #origins = new Map<string, Origin>(allKeys.map((key) => [key.title, 'default']));

  constructor(
    private readonly text: string,
    private readonly file: string,
  ) {}

  read(): void {
    let program: AST.TOMLProgram;
    try {
      program = parseTOML(this.text, { tomlVersion: '1.0' });
    } catch (error) {
      if (!(error instanceof ParseError)) throw error;
      this.#problem(error.lineNumber, 'this is not TOML', `${error.message} (column ${error.column + 1})`);
      return;
    }
    for (const node of program.body[0].body) {
      if (node.type === 'TOMLTable') this.#table(node);
      else this.#pair(node, []);
    }
  }

  finish(): Parsed {
    const draft: Record<string, Record<string, unknown>> = {};
    for (const key of allKeys) {
      const value = this.#values.has(key) ? this.#values.get(key) : key.kind.default;
      (draft[key.table] ??= {})[camelCase(key.name)] = value;
    }
    // Every key of the table has just been given a value by its own kind.
    const config = draft as unknown as Config;
    if (this.#problems.length === 0) this.#applyRules(config);
    const problems = this.#problems
      .toSorted((a, b) => a.line - b.line)
      .map(({ line, what, why }) => new BerthError('BERTH_CONFIG_INVALID', { file: this.file, line, what, why }));
    return { config, origins: this.#origins, problems };
  }

  #applyRules(config: Config): void {
    for (const rule of rules.filter(({ broken }) => broken(config))) {
      const origin = this.#origins.get(rule.at);
      this.#problem(origin === undefined || origin === 'default' ? 1 : origin.line, rule.what, rule.why);
    }
  }

  #table(node: AST.TOMLTable): void {
    const path = names(node.key);
    const { line } = node.key.loc.start;
    const [table] = path;
    if (node.kind === 'array') {
      this.#problem(line, `[[${path.join('.')}]] is an array of tables`, `expected one of the tables ${tableList}`);
    } else if (path.length === 1 && table !== undefined && tables.includes(table)) {
      for (const pair of node.body) this.#pair(pair, path);
    } else {
      this.#unknownTable(line, path.join('.'));
    }
  }

  #pair(node: AST.TOMLKeyValue, prefix: readonly string[]): void {
    const path = [...prefix, ...names(node.key)];
    const { line } = node.key.loc.start;
    const [table, name] = path;
    if (table === undefined) return;
    if (!tables.includes(table)) {
      if (path.length > 1) this.#unknownTable(line, table);
      else this.#strayKey(line, table);
    } else if (name === undefined) {
      if (node.value.type === 'TOMLInlineTable') for (const pair of node.value.body) this.#pair(pair, path);
      else this.#problem(line, `${table} is ${this.#source(node.value)}`, `expected a table, [${table}]`);
    } else {
      this.#value(line, table, path.slice(1).join('.'), node.value);
    }
  }

  #value(line: number, table: string, name: string, node: AST.TOMLContentNode): void {
    const key = allKeys.find((one) => one.table === table && one.name === name);
    if (!key) {
      this.#unknownKey(line, table, name);
      return;
    }
    try {
      this.#values.set(key, key.kind.read(node));
      this.#origins.set(key.title, { file: this.file, line });
    } catch (error) {
      if (!(error instanceof Unfit)) throw error;
      for (const { node: part = node, message } of [error, ...error.more]) {
        const what = part === node ? `${key.title} is` : `${key.title} has`;
        this.#problem(part.loc.start.line, `${what} ${this.#source(part)}`, `expected ${message}`);
      }
    }
  }

  #unknownKey(line: number, table: string, name: string): void {
    const here = allKeys.filter((key) => key.table === table).map((key) => key.name);
    const elsewhere = allKeys.find((key) => key.name === name);
    const near = nearest(name, here);
    const suggestion = near ? `did you mean ${near}? ` : elsewhere ? `did you mean ${elsewhere.title}? ` : '';
    this.#problem(line, `[${table}] has no key ${name}`, `${suggestion}expected one of ${here.join(', ')}`);
  }

  #unknownTable(line: number, name: string): void {
    const near = nearest(name, tables);
    this.#problem(
      line,
      `unknown table [${name}]`,
      `${near ? `did you mean [${near}]? ` : ''}expected one of ${tableList}`,
    );
  }

  #strayKey(line: number, name: string): void {
    const near = nearest(
      name,
      allKeys.map((key) => key.name),
    );
    const key = allKeys.find((one) => one.name === near);
    const suggestion = key ? `did you mean ${key.title}? ` : '';
    this.#problem(
      line,
      `the key ${name} stands outside of a table`,
      `${suggestion}expected it under one of ${tableList}`,
    );
  }

  /** The value as the file has it, shortened to a line that can be read at a glance. */
  #source(node: AST.TOMLContentNode): string {
    const source = this.text.slice(...node.range).replace(/\s+/g, ' ');
    return source.length > 60 ? `${source.slice(0, 57)}…` : source;
  }

  #problem(line: number, what: string, why: string): void {
    this.#problems.push({ line, what, why });
  }
}

function names(key: AST.TOMLKey): string[] {
  return key.keys.map((part) => (part.type === 'TOMLBare' ? part.name : part.value));
}
