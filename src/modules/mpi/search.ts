import { close, fstat, readFile, readlinkSync } from 'node:fs';
import { basename } from 'node:path';
import { promisify } from 'node:util';
import { NotLibrary, readLibrary, type Library } from './elf.js';
import { readLinkerCache } from './linker-cache.js';

const closeFile = promisify(close);
const statusOf = promisify(fstat);
const readWhole = promisify(readFile);

/** Files as somebody sees them: the host's as berthd does, a container's as its user does. */
export interface Files {
  /** A regular file's descriptor, which is the caller's to close; undefined where there is none that can be opened. */
  readonly open: (path: string) => Promise<number | undefined>;
}

export interface FoundLibrary extends Library {
  /** Where it was found. */
  readonly path: string;
  /** The name of the file itself, such as libmpi.so.12.2.1, where the path is a symbolic link. */
  readonly file: string;
}

/** Where the dynamic linker looks last, of the distributions that there are. */
const LAST = [
  '/lib64',
  '/usr/lib64',
  '/lib',
  '/usr/lib',
  '/lib/x86_64-linux-gnu',
  '/usr/lib/x86_64-linux-gnu',
  '/lib/aarch64-linux-gnu',
  '/usr/lib/aarch64-linux-gnu',
];

/** Longest cache of the linker that is read, in bytes. */
const CACHE_LIMIT = 16 * 1024 * 1024;

/** Looks for libraries as the dynamic linker does (ld.so(8)). */
export class LibrarySearch {
  #cache: Promise<ReadonlyMap<string, readonly string[]>> | undefined;

  /** @param first directories that come before all others: LD_LIBRARY_PATH */
  constructor(
    private readonly files: Files,
    private readonly first: readonly string[] = [],
  ) {}

  /**
   * The library of this name that a program would get.
   *
   * @param origin directory of the library that needs it, and its own search path
   */
  async find(
    name: string,
    needing?: { readonly directory: string; readonly runpath: readonly string[] },
  ): Promise<FoundLibrary | undefined> {
    const own = (needing?.runpath ?? []).map((path) =>
      path.replace(/\$ORIGIN|\$\{ORIGIN\}/g, needing?.directory ?? ''),
    );
    const early = [...this.first, ...own].map((directory) => `${directory}/${name}`);
    const found = await this.#firstOf(early.filter((path) => path.startsWith('/')));
    if (found) return found;
    const cache = await this.names();
    // A cache has what is in the usual directories.
    return this.#firstOf(cache.size > 0 ? (cache.get(name) ?? []) : LAST.map((directory) => `${directory}/${name}`));
  }

  /** The library at a path; undefined where there is none. */
  async at(path: string): Promise<FoundLibrary | undefined> {
    return this.#firstOf([path]);
  }

  /** Names of libraries that the linker knows, with their paths. */
  names(): Promise<ReadonlyMap<string, readonly string[]>> {
    this.#cache ??= this.#readCache();
    return this.#cache;
  }

  async #readCache(): Promise<ReadonlyMap<string, readonly string[]>> {
    const descriptor = await this.files.open('/etc/ld.so.cache');
    if (descriptor === undefined) return new Map();
    try {
      const { size } = await statusOf(descriptor);
      return size > CACHE_LIMIT ? new Map() : readLinkerCache(await readWhole(descriptor));
    } finally {
      await closeFile(descriptor);
    }
  }

  /** All are opened at once: in a container, each takes a process of its own. */
  async #firstOf(paths: readonly string[]): Promise<FoundLibrary | undefined> {
    const descriptors = await Promise.all(paths.map((path) => this.files.open(path)));
    try {
      for (const [i, path] of paths.entries()) {
        const descriptor = descriptors[i];
        const found = descriptor === undefined ? undefined : await libraryAt(path, descriptor);
        if (found) return found;
      }
      return undefined;
    } finally {
      await Promise.all(descriptors.flatMap((descriptor) => (descriptor === undefined ? [] : [closeFile(descriptor)])));
    }
  }
}

/** The linker passes over what it cannot load. */
async function libraryAt(path: string, descriptor: number): Promise<FoundLibrary | undefined> {
  try {
    const library = await readLibrary(descriptor);
    return { ...library, path, file: basename(readlinkSync(`/proc/self/fd/${descriptor}`)) };
  } catch (error) {
    if (error instanceof NotLibrary) return undefined;
    throw error;
  }
}
