import { getStaticTOMLValue, parseTOML, ParseError, type AST } from 'toml-eslint-parser';

/** What is wrong with a file, and where. */
export interface Problem {
  readonly line: number;
  readonly what: string;
  /** What was expected instead. */
  readonly why: string;
}

/** Thrown for a text that is not TOML. */
export class NotToml extends Error {
  constructor(readonly problem: Problem) {
    super(problem.why);
  }
}

type Path = readonly (string | number)[];

/** A TOML text as plain values, and the line on which each of them stands. */
export class Document {
  readonly #lines = new Map<string, number>();
  readonly #sources = new Map<string, string>();
  readonly values: Readonly<Record<string, unknown>>;

  /** @throws NotToml */
  constructor(private readonly text: string) {
    try {
      const program = parseTOML(text, { tomlVersion: '1.0' });
      this.values = getStaticTOMLValue(program);
      for (const node of program.body[0].body) this.#note(node);
    } catch (error) {
      if (!(error instanceof ParseError)) throw error;
      const why = `${error.message} (column ${error.column + 1})`;
      throw new NotToml({ line: error.lineNumber, what: 'this is not TOML', why });
    }
  }

  /** The line on which a value is given; that of what holds it where it has none of its own. */
  line(path: Path): number {
    for (let length = path.length; length > 0; length--) {
      const line = this.#lines.get(keyOf(path.slice(0, length)));
      if (line !== undefined) return line;
    }
    return 1;
  }

  /** A value as the text has it, shortened to what can be read at a glance. */
  source(path: Path): string {
    return this.#sources.get(keyOf(path)) ?? 'a table';
  }

  #note(node: AST.TOMLTable | AST.TOMLKeyValue): void {
    if (node.type === 'TOMLKeyValue') {
      this.#pair(node, []);
      return;
    }
    this.#lines.set(keyOf(node.resolvedKey), node.key.loc.start.line);
    for (const pair of node.body) this.#pair(pair, node.resolvedKey);
  }

  #pair(node: AST.TOMLKeyValue, prefix: Path): void {
    const path = [...prefix, ...node.key.keys.map((part) => (part.type === 'TOMLBare' ? part.name : part.value))];
    this.#lines.set(keyOf(path), node.key.loc.start.line);
    this.#value(node.value, path);
  }

  #value(node: AST.TOMLContentNode, path: Path): void {
    const source = this.text.slice(...node.range).replace(/\s+/g, ' ');
    this.#sources.set(keyOf(path), source.length > 60 ? `${source.slice(0, 57)}…` : source);
    if (!this.#lines.has(keyOf(path))) this.#lines.set(keyOf(path), node.loc.start.line);
    if (node.type === 'TOMLInlineTable') for (const pair of node.body) this.#pair(pair, path);
    if (node.type === 'TOMLArray')
      for (const [index, element] of node.elements.entries()) this.#value(element, [...path, index]);
  }
}

function keyOf(path: Path): string {
  return JSON.stringify(path);
}
