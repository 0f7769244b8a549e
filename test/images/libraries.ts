/** Shared libraries made for a test, and a root directory that has them. */
import { execFileSync } from 'node:child_process';
import { chmodSync, mkdirSync, mkdtempSync, open, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { promisify } from 'node:util';
import type { Files } from '../../src/modules/mpi/search.js';

const openFile = promisify(open);

/** What a library is to have. */
export interface LibraryWords {
  readonly soname?: string;
  /** Versions of symbols that it has; of each, one symbol. */
  readonly defines?: readonly string[];
  /** Paths of libraries that it is linked with, all of whose symbols it uses. */
  readonly uses?: readonly { readonly path: string; readonly versions?: readonly string[] }[];
  readonly runpath?: string;
}

/** A root directory with libraries, and nothing else. */
export class LibraryRoot {
  readonly path: string;
  #made = 0;

  /** @param parent the directory in which it is made */
  constructor(parent = tmpdir()) {
    this.path = mkdtempSync(join(parent, 'berth-libraries-'));
    chmodSync(this.path, 0o755);
  }

  remove(): void {
    rmSync(this.path, { recursive: true });
  }

  /** Compiles a library; returns its path on this machine. */
  add(path: string, { soname, defines = [], uses = [], runpath }: LibraryWords = {}): string {
    const target = join(this.path, path);
    mkdirSync(dirname(target), { recursive: true });
    const work = join(this.path, `.work-${this.#made++}`);
    mkdirSync(work);
    const name = (version: string): string => `symbol_${version.replace(/\W/g, '_')}`;
    const own = defines.map((version) => `int ${name(version)}(void) { return 1; }`);
    const used = uses.flatMap(({ versions = [] }) => versions.map(name));
    const calls = used.length > 0 ? [`int use(void) { return ${used.map((each) => `${each}()`).join(' + ')}; }`] : [];
    const declared = used.map((each) => `int ${each}(void);`);
    writeFileSync(join(work, 'library.c'), [...own, ...declared, ...calls, 'int there;'].join('\n'));
    writeFileSync(join(work, 'map'), defines.map((version) => `${version} { global: ${name(version)}; };`).join('\n'));
    execFileSync('cc', [
      ...['-shared', '-nostdlib', '-fPIC', '-o', target, join(work, 'library.c'), '-Wl,--no-as-needed'],
      ...(soname === undefined ? [] : [`-Wl,-soname,${soname}`]),
      ...(runpath === undefined ? [] : [`-Wl,-rpath,${runpath}`]),
      ...(defines.length > 0 ? [`-Wl,--version-script=${join(work, 'map')}`] : []),
      ...uses.map((each) => each.path),
    ]);
    rmSync(work, { recursive: true });
    return target;
  }

  link(path: string, target: string): void {
    rmSync(join(this.path, path), { force: true });
    symlinkSync(target, join(this.path, path));
  }

  /** Writes /etc/ld.so.cache as ldconfig(8) does, for the directories given. */
  cache(...directories: readonly string[]): void {
    mkdirSync(join(this.path, 'etc'), { recursive: true });
    writeFileSync(join(this.path, 'etc/ld.so.conf'), directories.map((each) => `${each}\n`).join(''));
    execFileSync('/sbin/ldconfig', ['-X', '-r', this.path]);
  }

  /** Its files, under the paths that they have in there. */
  get files(): Files {
    return {
      open: (path) =>
        openFile(join(this.path, path), 'r').then(
          (descriptor) => descriptor,
          () => undefined,
        ),
    };
  }
}
