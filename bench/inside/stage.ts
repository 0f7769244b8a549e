/** Everything the parts run on: a cluster of one node, the shells of a user, and a directory that the node shares. */
import { chmod, chown, mkdir, mkdtemp, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { debianRootfs } from '../../scripts/library/rootfs.js';
import { account } from '../../test/cluster/accounts.js';
import { Cluster } from '../../test/cluster/cluster.js';
import { requireCommand } from '../../test/cluster/command.js';
import { errorMessage } from '../../test/cluster/errors.js';
import type { Progress } from '../bench.js';
import { PACKAGES } from '../images/reading/bench.js';
import { mustExec } from '../execute.js';
import { SubmitShell, user } from '../submit-shell.js';

const IMAGE = 'bench';

export interface StageOptions {
  /** Beneath which everything is. */
  readonly directory: string;
  readonly signal: AbortSignal;
  readonly say: Progress;
}

export class Stage {
  readonly #shells: SubmitShell[] = [];

  private constructor(
    /** With one compute node, n1. */
    readonly cluster: Cluster,
    readonly signal: AbortSignal,
    readonly say: Progress,
  ) {}

  /** Sets the stage, has `work` done on it and removes it, whatever happens. */
  static async use<T>({ directory, signal, say }: StageOptions, work: (stage: Stage) => Promise<T>): Promise<T> {
    say('a Debian root file system (half a minute the first time)');
    const { tar } = await debianRootfs('python', PACKAGES);
    signal.throwIfAborted();
    const base = await mkdtemp(join(directory, 'berth-bench-'));
    let cluster: Cluster | undefined;
    try {
      // Programs of ordinary users run from there.
      await chmod(base, 0o755);
      say('a cluster of one node');
      cluster = await Cluster.up({ dir: join(base, 'cluster'), nodes: 1, signal });
      const stage = new Stage(cluster, signal, say);
      await stage.importImage(IMAGE, tar);
      return await work(stage);
    } finally {
      say('cleaning up');
      const gone = await (cluster?.down() ?? Promise.resolve()).then(
        () => true,
        (error: unknown) => {
          say(errorMessage(error));
          return false;
        },
      );
      // Not beneath a cluster that would not go: its mounts are still there.
      if (gone) await rm(base, { recursive: true, force: true });
    }
  }

  /** Asks for the image of parts that bring their own programs: the Debian with numpy and mpi4py of the images bench. */
  readonly image = `--image=${IMAGE}`;

  /** The user's home directory, which is at the same place inside and outside: by its name in the cluster. */
  readonly home = `/home/${user}`;

  /** The same directory's path on this machine. */
  get homeHere(): string {
    return join(this.cluster.layout.home, user);
  }

  /** A new directory of the user's that has the same path on the machine and on the node, but not in containers. */
  async shared(name: string): Promise<string> {
    const directory = join(this.cluster.dir, 'shared', name);
    await mkdir(directory, { recursive: true });
    const { uid, gid } = account(user);
    await chown(directory, uid, gid);
    return directory;
  }

  /** The file system that shared directories are on, as mount(8) calls it. */
  async sharedType(): Promise<string> {
    const output = await requireCommand(['findmnt', '--noheadings', '--output=FSTYPE', '--target', this.cluster.dir]);
    return output.trim();
  }

  /** @param source a directory or an archive with a root file system */
  async importImage(name: string, source: string): Promise<void> {
    this.say(`the image ${name}`);
    await mustExec(this.cluster, 'login', ['berth', 'import', name, source]);
    this.signal.throwIfAborted();
  }

  /**
   * A shell of the user's on the submit host.
   * @param name of which no other shell is
   * @param allocation options of salloc, for a shell in an allocation of its own
   * @param environment of its commands
   */
  async shell(
    name: string,
    allocation?: readonly string[],
    environment: Readonly<Record<string, string>> = {},
  ): Promise<SubmitShell> {
    const salloc = allocation === undefined ? [] : ['salloc', '--quiet', '--nodes=1', ...allocation];
    const shell = await SubmitShell.open(this.cluster, name, salloc, environment, this.signal);
    this.#shells.push(shell);
    return shell;
  }

  /** Ends all shells and their allocations. */
  async closeShells(): Promise<void> {
    for (const shell of this.#shells.splice(0)) await shell.close();
  }
}
