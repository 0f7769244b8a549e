import { constants, open, statSync } from 'node:fs';
import { readdir } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { promisify } from 'node:util';
import { errorCode } from '../../errors/index.js';
import type { ModuleMpi } from '../module.js';
import { stateOf } from '../trusted.js';
import { isRuntime } from './runtime.js';
import { LibrarySearch, type Files, type FoundLibrary } from './search.js';

const openFile = promisify(open);

/** Containers that are remembered as fitting an MPI. */
const MOST_PASSED = 1000;

/** More libraries than this are not an MPI's. */
const MOST_LIBRARIES = 256;

/** What keeps the host's MPI from being used, in words that follow "why:". */
export class HostFault extends Error {}

/** The host's MPI, with all that it needs. */
export interface HostMpi {
  /** The libraries that the module names, by each name under which programs ask for them. */
  readonly libraries: ReadonlyMap<string, FoundLibrary>;
  /** What these need, by name, without what a container has of its own. */
  readonly dependencies: ReadonlyMap<string, FoundLibrary>;
  /** What all of them need of libraries that a container has of its own: by library, the versions, and who needs them. */
  readonly needs: readonly Need[];
}

export interface Need {
  readonly library: string;
  readonly version: string;
  /** File of the host that needs it. */
  readonly by: string;
}

export const hostFiles: Files = {
  open: async (path) => {
    try {
      return await openFile(path, constants.O_RDONLY | constants.O_NONBLOCK);
    } catch (error) {
      if (['ENOENT', 'ENOTDIR', 'EACCES'].includes(errorCode(error) ?? '')) return undefined;
      throw error;
    }
  },
};

/** Finds out what a module's MPI consists of, and remembers which containers it fits, for as long as none of its files changes. */
export class HostMpiFinder {
  readonly #passed = new WeakMap<HostMpi, Set<string>>();
  readonly #known = new Map<
    string,
    { readonly state: string; readonly paths: readonly string[]; readonly found: HostMpi }
  >();

  /** @throws HostFault */
  async find(mpi: ModuleMpi): Promise<HostMpi> {
    const key = JSON.stringify(mpi);
    const known = this.#known.get(key);
    if (known?.state === stateOfAll(known?.paths ?? [])) return known.found;
    const walk = new Walk(mpi.keep);
    const found = await walk.from(mpi);
    const paths = ['/etc/ld.so.cache', ...mpi.libraries, ...mpi.components, ...walk.paths];
    this.#known.set(key, { state: stateOfAll(paths), paths, found });
    return found;
  }

  /** Has a container of this identity been found to fit? */
  hasPassed(host: HostMpi, identity: string | undefined): boolean {
    return identity !== undefined && this.#passed.get(host)?.has(identity) === true;
  }

  notePassed(host: HostMpi, identity: string | undefined): void {
    const passed = this.#passed.get(host) ?? new Set();
    if (identity !== undefined && passed.size < MOST_PASSED) this.#passed.set(host, passed.add(identity));
  }
}

function stateOfAll(paths: readonly string[]): string {
  return paths
    .map((path) => {
      const status = statSync(path, { bigint: true, throwIfNoEntry: false });
      return status ? stateOf(status) : '';
    })
    .join(' ');
}

/** One walk through what libraries need. */
class Walk {
  readonly #search = new LibrarySearch(hostFiles);
  readonly #dependencies = new Map<string, FoundLibrary>();
  readonly #needs = new Map<string, Need>();
  readonly #seen = new Set<string>();

  constructor(private readonly keep: readonly string[]) {}

  get paths(): string[] {
    return [...this.#dependencies.values()].map(({ path }) => path);
  }

  async from(mpi: ModuleMpi): Promise<HostMpi> {
    const libraries = new Map<string, FoundLibrary>();
    for (const path of mpi.libraries) {
      const library = await this.#search.at(path);
      if (!library) throw new HostFault(`${path} is not there, or is no library of 64 bits`);
      for (const name of [basename(path), library.soname ?? basename(path)]) libraries.set(name, library);
    }
    const [first] = libraries.values();
    if (first) for (const name of mpi.aliases) if (!libraries.has(name)) libraries.set(name, first);
    for (const library of libraries.values()) await this.#follow(library, libraries);
    for (const directory of mpi.components) {
      for (const library of await this.#componentsIn(directory)) await this.#follow(library, libraries);
    }
    return { libraries, dependencies: this.#dependencies, needs: [...this.#needs.values()] };
  }

  async #componentsIn(directory: string): Promise<FoundLibrary[]> {
    try {
      const names = (await readdir(directory)).filter((name) => /\.so(?:\.|$)/.test(name));
      const found = await Promise.all(names.map((name) => this.#search.at(join(directory, name))));
      return found.filter((library) => library !== undefined);
    } catch (error) {
      if (errorCode(error) === 'ENOENT') throw new HostFault(`${directory} is not there`);
      throw error;
    }
  }

  async #follow(library: FoundLibrary, libraries: ReadonlyMap<string, FoundLibrary>): Promise<void> {
    if (this.#seen.has(library.path)) return;
    this.#seen.add(library.path);
    if (this.#seen.size > MOST_LIBRARIES) throw new HostFault(`it needs more than ${MOST_LIBRARIES} libraries`);
    for (const [name, versions] of library.needs) {
      if (!this.#isKept(name)) continue;
      for (const version of versions)
        this.#needs.set(`${name} ${version}`, { library: name, version, by: library.file });
    }
    for (const name of library.needed) {
      if (this.#isKept(name) || libraries.has(name) || this.#dependencies.has(name)) continue;
      const found = await this.#search.find(name, { directory: dirname(library.path), runpath: library.runpath });
      if (!found) throw new HostFault(`${library.path} needs ${name}, which is not there`);
      this.#dependencies.set(name, found);
      await this.#follow(found, libraries);
    }
  }

  #isKept(name: string): boolean {
    return isRuntime(name) || this.keep.includes(name);
  }
}
