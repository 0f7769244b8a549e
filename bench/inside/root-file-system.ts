/**
 * One root file system as an image and as a directory, so that the same files run inside and outside. Outside they run
 * where they lie, as an ordinary user's program: their own dynamic loader is told where their libraries are. A changed
 * root directory would need privileges or a user namespace, and so be no bare run.
 */
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { debianRootfs } from '../../scripts/library/rootfs.js';
import { run } from '../program.js';
import type { Stage } from '../parts/stage.js';

/** By Node.js's name of the architecture: Debian's directory of libraries, and the dynamic loader in it. */
const ARCHITECTURES: Readonly<Record<string, { readonly libraries: string; readonly loader: string }>> = {
  x64: { libraries: 'usr/lib/x86_64-linux-gnu', loader: 'ld-linux-x86-64.so.2' },
  arm64: { libraries: 'usr/lib/aarch64-linux-gnu', loader: 'ld-linux-aarch64.so.1' },
};

export class RootFileSystem {
  private constructor(
    readonly directory: string,
    /** Of Debian's architecture. */
    readonly libraries: string,
    private readonly loader: string,
  ) {}

  /**
   * Unpacks a Debian with the packages into a directory of the stage.
   * @param name under which its archive is kept
   */
  static async unpack({ cluster, say, signal }: Stage, name: string, packages: readonly string[]) {
    const architecture = ARCHITECTURES[process.arch];
    if (architecture === undefined) throw new Error(`The bench knows no dynamic loader for ${process.arch}.`);
    say(`a Debian root file system with ${packages.join(', ')} (a minute the first time)`);
    const { tar } = await debianRootfs(name, packages);
    const directory = join(cluster.dir, 'roots', name);
    await mkdir(directory, { recursive: true });
    // Without device nodes, which images do not have either.
    await run(['tar', '--extract', '--exclude=./dev/*', `--directory=${directory}`, `--file=${tar}`], { signal });
    const libraries = join(directory, architecture.libraries);
    return new RootFileSystem(directory, libraries, join(libraries, architecture.loader));
  }

  /** The path of one of its files outside. */
  path(...names: readonly string[]): string {
    return join(this.directory, ...names);
  }

  /** The command that runs a program of it outside. */
  bare(program: string): readonly string[] {
    return [this.loader, '--library-path', this.libraries, this.path(program)];
  }
}
