import { nearest } from '../config/index.js';
import type { Document, Problem } from './toml.js';

type Path = readonly (string | number)[];

/** What a text has to be: its words follow "expected". */
export interface Form<T> {
  readonly expected: string;
  /** Undefined for a text that does not fit. */
  readonly read: (text: string) => T | undefined;
}

/**
 * One table of a TOML file, from which its reader takes each key that may stand there. What does not fit is a problem,
 * noted for all of the file, and read as if it had not been given.
 */
export class Table {
  readonly #asked = new Set<string>();

  constructor(
    private readonly document: Document,
    private readonly values: Readonly<Record<string, unknown>>,
    private readonly path: Path,
    private readonly problems: Problem[],
    /** What the file is, for messages. */
    private readonly whole = 'the module',
  ) {}

  has(key: string): boolean {
    return this.values[key] !== undefined;
  }

  flag(key: string, otherwise: boolean): boolean {
    const value = this.#take(key);
    if (value === undefined || typeof value === 'boolean') return value ?? otherwise;
    this.#unfit([key], 'true or false');
    return otherwise;
  }

  text<T>(key: string, form: Form<T>): T | undefined {
    const value = this.#take(key);
    return value === undefined ? undefined : this.#read(value, form, [key]);
  }

  required<T>(key: string, form: Form<T>): T | undefined {
    if (!this.has(key)) {
      this.#asked.add(key);
      this.problem([], `${this.title} has no ${key}`, `expected ${key}, ${form.expected}`);
      return undefined;
    }
    return this.text(key, form);
  }

  /** No text stands in it twice. */
  list<T>(key: string, form: Form<T>): readonly T[] {
    const value = this.#take(key);
    if (value === undefined) return [];
    if (!Array.isArray(value)) {
      this.#unfit([key], `an array, of which each is ${form.expected}`);
      return [];
    }
    const elements: readonly unknown[] = value;
    return elements.flatMap((element, index) => {
      if (elements.indexOf(element) < index) {
        this.problem([key, index], `${key} has ${this.#source([key, index])} twice`, 'expected it once');
        return [];
      }
      const read = this.#read(element, form, [key, index]);
      return read === undefined ? [] : [read];
    });
  }

  /** A table whose keys are free names and whose values are texts. */
  texts<T>(key: string, name: Form<string>, form: Form<T>): readonly (readonly [string, T])[] {
    const value = this.#take(key);
    if (value === undefined) return [];
    if (!isTable(value)) {
      this.#unfit([key], `a table, of which each key is ${name.expected}`);
      return [];
    }
    return Object.entries(value).flatMap(([each, text]) => {
      if (name.read(each) === undefined) {
        this.problem([key, each], `${key} has ${each}`, `expected ${name.expected}`);
        return [];
      }
      const read = this.#read(text, form, [key, each]);
      return read === undefined ? [] : [[each, read] as const];
    });
  }

  table(key: string): Table | undefined {
    const value = this.#take(key);
    if (value === undefined) return undefined;
    if (isTable(value)) return this.#inner([key], value);
    this.#unfit([key], `a table, [${key}]`);
    return undefined;
  }

  tables(key: string): readonly Table[] {
    const value = this.#take(key);
    if (value === undefined) return [];
    if (Array.isArray(value) && value.every(isTable))
      return value.map((each, index) => this.#inner([key, index], each));
    this.#unfit([key], `tables [[${key}]]`);
    return [];
  }

  /** Is the value of this key a table? */
  isTable(key: string): boolean {
    return isTable(this.values[key]);
  }

  isArray(key: string): boolean {
    return Array.isArray(this.values[key]);
  }

  /** Notes every key that nothing asked for. */
  finish(): void {
    for (const key of Object.keys(this.values)) {
      if (this.#asked.has(key)) continue;
      const near = nearest(key, this.#asked);
      const all = [...this.#asked].join(', ');
      const suggestion = near === undefined ? '' : `did you mean ${near}? `;
      this.problem([key], `${this.title} has a key ${key}`, `${suggestion}expected one of ${all}`);
    }
  }

  problem(path: Path, what: string, why: string): void {
    this.problems.push({ line: this.document.line([...this.path, ...path]), what, why });
  }

  /** As messages call it. */
  get title(): string {
    const names = this.path.filter((part) => typeof part === 'string');
    if (names.length === 0) return this.whole;
    return typeof this.path.at(-1) === 'number' ? `[[${names.join('.')}]]` : `[${names.join('.')}]`;
  }

  #inner(path: Path, values: Readonly<Record<string, unknown>>): Table {
    return new Table(this.document, values, [...this.path, ...path], this.problems, this.whole);
  }

  #take(key: string): unknown {
    this.#asked.add(key);
    return this.values[key];
  }

  #read<T>(value: unknown, form: Form<T>, path: Path): T | undefined {
    const read = typeof value === 'string' ? form.read(value) : undefined;
    if (read === undefined) this.#unfit(path, form.expected);
    return read;
  }

  #unfit(path: Path, expected: string): void {
    this.problem(
      path,
      `${path.filter((part) => typeof part === 'string').join('.')} is ${this.#source(path)}`,
      `expected ${expected}`,
    );
  }

  #source(path: Path): string {
    return this.document.source([...this.path, ...path]);
  }
}

function isTable(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value) && !(value instanceof Date);
}
