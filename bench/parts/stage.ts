/** Everything the parts run on: a cluster of one node, the shells of a user, and a directory that the node shares. */
import { chmod, chown, mkdir, mkdtemp, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { debianRootfs } from '../../scripts/library/rootfs.js';
import { account } from '../../test/cluster/accounts.js';
import { Cluster } from '../../test/cluster/cluster.js';
import { requireCommand } from '../../test/cluster/command.js';
import { errorMessage } from '../../test/cluster/errors.js';
import type { Progress } from '../bench.js';
import { mustExec } from '../execute.js';
import { SubmitShell, user } from '../submit-shell.js';

const IMAGE = 'bench';

/** What a bench has set up for it. */
export interface Setting {
  /** Debian packages of the image, and the name under which its archive is kept. */
  readonly rootfs: string;
  readonly packages: readonly string[];
  /** Done before the first part, when the cluster is up and has the image. */
  readonly furnish?: (stage: Stage) => Promise<void>;
}

export interface StageOptions extends Setting {
  /** Beneath which everything is. */
  readonly directory: string;
  readonly signal: AbortSignal;
  readonly say: Progress;
}

export class Stage {
  readonly #ends: (() => Promise<void>)[] = [];

  private constructor(
    /** With one compute node, n1. */
    readonly cluster: Cluster,
    readonly signal: AbortSignal,
    readonly say: Progress,
  ) {}

  /** Sets the stage, has `work` done on it and removes it, whatever happens. */
  static async use<T>(options: StageOptions, work: (stage: Stage) => Promise<T>): Promise<T> {
    const { directory, signal, say } = options;
    say('a Debian root file system (half a minute the first time)');
    const { tar } = await debianRootfs(options.rootfs, options.packages);
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
      await options.furnish?.(stage);
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

  /** Asks for the image of the setting. */
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
    this.afterPart(() => shell.close());
    return shell;
  }

  /** Has something of a part undone when it is over. What runs in the cluster ends with that in any case. */
  afterPart(end: () => Promise<void>): void {
    this.#ends.push(end);
  }

  /** Undoes what the part that was measured had set up, and ends its shells with their allocations. */
  async endPart(): Promise<void> {
    for (const end of this.#ends.splice(0).reverse()) await end();
  }
}
