import { readdirSync, realpathSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { BerthError, errorCode, reasonOf } from '../errors/index.js';
import { isModuleName } from './forms.js';
import type { Automatic, Module } from './module.js';
import { readModule } from './read.js';
import type { Problem } from './toml.js';
import { readTrusted, refuseUntrusted, stateOf, Untrusted } from './trusted.js';

/** Longest module file that is read, in bytes. */
const SIZE_LIMIT = 256 * 1024;

const ENDING = '.toml';

/** A module file, and what is wrong with it. */
export interface Entry {
  readonly name: string;
  readonly file: string;
  /** Absent where the file is not root's own or could not be read. */
  readonly module?: Module;
  /** A launch that would use the module fails with this. */
  readonly fault?: BerthError;
}

export interface Catalogue {
  readonly directory: string;
  /** In the order of their names. */
  readonly entries: ReadonlyMap<string, Entry>;
  /** Why no module of the directory is used. */
  readonly fault?: BerthError;
}

interface Known {
  readonly entry: Entry;
  /** Empty for what has to be looked at anew each time. */
  readonly state: string;
}

/** The modules' directory. It is read anew when the directory or a file of it has changed, and only looked at otherwise. */
export class CatalogueReader {
  #directoryState = '';
  #known = new Map<string, Known>();
  #catalogue: Catalogue;

  constructor(private readonly directory: string) {
    this.#catalogue = { directory, entries: new Map() };
  }

  /** What the directory holds now. Never throws: what is wrong is a fault of an entry, or of all. */
  current(): Catalogue {
    try {
      const status = statSync(this.directory, { bigint: true });
      const state = `${stateOf(status)}:${status.uid}:${status.mode}`;
      if (state !== this.#directoryState) this.#list(state);
      else if (![...this.#known].every(([name, known]) => this.#isUnchanged(name, known))) this.#list(state);
    } catch (error) {
      this.#directoryState = '';
      this.#known = new Map();
      this.#catalogue = { directory: this.directory, entries: new Map(), ...this.#faultOf(error) };
    }
    return this.#catalogue;
  }

  #list(state: string): void {
    refuseUntrusted(realpathSync(this.directory));
    const names = readdirSync(this.directory)
      .filter((name) => name.endsWith(ENDING) && !name.startsWith('.'))
      .map((name) => name.slice(0, -ENDING.length))
      .sort();
    this.#known = new Map(names.map((name) => [name, this.#keep(name)]));
    this.#directoryState = state;
    this.#catalogue = {
      directory: this.directory,
      entries: new Map([...this.#known].map(([name, { entry }]) => [name, entry])),
    };
  }

  #keep(name: string): Known {
    const known = this.#known.get(name);
    return known && this.#isUnchanged(name, known) ? known : this.#read(name);
  }

  #isUnchanged(name: string, { state }: Known): boolean {
    try {
      return state !== '' && stateOf(statSync(this.#file(name), { bigint: true })) === state;
    } catch {
      return false;
    }
  }

  #read(name: string): Known {
    const file = this.#file(name);
    try {
      const { text, state } = readTrusted(file, SIZE_LIMIT);
      const { module, problems } = readModule(name, file, text);
      const fault = isModuleName(name) ? faultIn(file, problems) : unnamable(file, name);
      return { state, entry: { name, file, module, ...(fault ? { fault } : {}) } };
    } catch (error) {
      return { state: '', entry: { name, file, fault: unusable(file, error) } };
    }
  }

  #faultOf(error: unknown): { fault?: BerthError } {
    return errorCode(error) === 'ENOENT' ? {} : { fault: unusable(this.directory, error) };
  }

  #file(name: string): string {
    return join(this.directory, `${name}${ENDING}`);
  }
}

/** When a module is used although nobody named it, as far as its file can be trusted to say. */
export function automaticOf({ module }: Entry): Automatic {
  return module?.automatic ?? 'never';
}

function faultIn(file: string, problems: readonly Problem[]): BerthError | undefined {
  const [first, ...more] = problems;
  if (!first) return undefined;
  const rest = more.map(({ line, what, why }) => `; also, line ${line}: ${what} (${why})`).join('');
  return new BerthError('BERTH_MODULE_FILE', { file, line: first.line, what: first.what, why: first.why + rest });
}

function unnamable(file: string, name: string): BerthError {
  const why = 'expected letters, digits and _ . + -, and a name other than none';
  return new BerthError('BERTH_MODULE_FILE', { file, line: 1, what: `${name} is no name of a module`, why });
}

function unusable(file: string, error: unknown): BerthError {
  const why = error instanceof Untrusted ? error.message : `it cannot be read: ${reasonOf(error)}`;
  return new BerthError('BERTH_MODULE_UNSAFE', { file, why }, { cause: error });
}
