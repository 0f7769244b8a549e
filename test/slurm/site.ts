/** What every file of the Slurm tests starts from: a cluster with Berth, an image, and plain users. */
import { chmod, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { writeDebianImage } from '../images/debian.js';
import { Cluster, type CaptureOptions, type ClusterOptions } from '../cluster/cluster.js';
import type { CommandResult } from '../cluster/command.js';
import { expectNothingLeft } from './leftovers.js';

/** One way of setting up Berth, and the nodes that are. */
export interface Configuration {
  readonly userns: 'on' | 'off';
  /** A Slurm partition of just these nodes. */
  readonly partition: string;
  readonly nodes: readonly string[];
  /** The first of the nodes. */
  readonly node: string;
}

export interface SiteOptions extends Pick<
  ClusterOptions,
  'slurmConf' | 'nodeParameters' | 'slurmFiles' | 'plugstackArguments' | 'nameService'
> {
  /** Nodes of each configuration; 1 by default. */
  readonly nodes?: number;
  /** Names of images to import; `debian` alone by default. Each has its name in /image. */
  readonly images?: readonly string[];
  /** Lines of berth.toml, beginning in [store]; the last table has to be [container]. */
  readonly berthConfig?: string;
  /** What else has to be there before the first test. */
  readonly prepare?: (site: Site) => Promise<void>;
}

/** Half of a site's nodes have user namespaces, half have not. */
export function configurations(nodes = 1): readonly [Configuration, Configuration] {
  const make = (userns: 'on' | 'off', first: number): Configuration => {
    const names = Array.from({ length: nodes }, (_, index) => `n${first + index}`);
    return { userns, partition: `userns-${userns}`, nodes: names, node: `n${first}` };
  };
  return [make('on', 1), make('off', 1 + nodes)];
}

// Compressed lightly: the tests read an image once. Heterogeneous jobs are started by the backfill scheduler alone,
// which looks every 30 s unless told otherwise.
const BERTH_CONFIG = '[store]\ncompression_level = 1\n';
const SLURM_CONF = 'SchedulerParameters=batch_sched_delay=0,sched_min_interval=0,bf_interval=1\n';

const BATCH = `batch() {
  job=$(sbatch --parsable "$@") || return
  while squeue --noheader --jobs="$job" 2>/dev/null | grep -q .; do sleep 0.05; done
}`;

/** What Slurm says where a job or a step has to wait for its turn: on a busy machine one may, and none is about that. */
const WAITING =
  /^(srun|salloc): (Job \d+ step creation (temporarily|still) disabled, retrying .*|Step created for job \d+|Pending job allocation \d+|job \d+ (queued and waiting for|has been allocated) resources)\n/gm;

/** A running cluster whose nodes have both configurations. */
export class Site {
  private constructor(
    readonly cluster: Cluster,
    private readonly directory: string,
    readonly configurations: readonly [Configuration, Configuration],
  ) {}

  static async start(options: SiteOptions = {}): Promise<Site> {
    const both = configurations(options.nodes);
    const [, off] = both;
    const directory = await mkdtemp(join(tmpdir(), 'berth-slurm-'));
    let cluster: Cluster | undefined;
    try {
      const berthConfig = `${BERTH_CONFIG}${options.berthConfig ?? '[container]\n'}`;
      cluster = await Cluster.up({
        ...options,
        dir: join(directory, 'cluster'),
        nodes: 2 * off.nodes.length,
        withoutDaemon: off.nodes,
        berthConfig,
        slurmConf: `${SLURM_CONF}${options.slurmConf ?? ''}`,
      });
      const site = new Site(cluster, directory, both);
      await writeFile(site.configFile('off'), `${berthConfig}userns = "off"\n`);
      await Promise.all(off.nodes.map((node) => site.startDaemon(node)));
      for (const configuration of both) await site.makePartition(configuration);
      for (const name of options.images ?? ['debian']) await site.importImage(name);
      await options.prepare?.(site);
      return site;
    } catch (error) {
      await cluster?.down();
      await rm(directory, { recursive: true, force: true });
      throw error;
    }
  }

  /** Ends the site, after making sure that all that ran in it has left nothing. */
  async stop(): Promise<void> {
    try {
      await expectNothingLeft(this.cluster);
    } finally {
      await this.cluster.down();
      await rm(this.directory, { recursive: true, force: true });
    }
  }

  /**
   * Runs a shell script on the login host. Slurm's commands in it use the nodes of the configuration. Besides them it has
   * `batch`, which is sbatch with the wait for the job's end, and sets `job`: `sbatch --wait` looks every other second
   * only. What Slurm says while something waits for its turn is left out.
   */
  async shell(
    configuration: Configuration,
    script: string,
    { user = 'alice', ...options }: CaptureOptions = {},
  ): Promise<CommandResult> {
    const { partition } = configuration;
    const env = {
      SLURM_PARTITION: partition,
      SALLOC_PARTITION: partition,
      SBATCH_PARTITION: partition,
      // Two processors: ranks that wait for each other are to let the others run.
      OMPI_MCA_mpi_yield_when_idle: '1',
      ...options.env,
    };
    const argv = ['bash', '-c', `${BATCH}\n${script}`];
    const result = await this.cluster.exec('login', argv, { timeout: 60_000, ...options, user, env });
    return { ...result, stdout: result.stdout.replace(WAITING, ''), stderr: result.stderr.replace(WAITING, '') };
  }

  /**
   * As {@link shell}, for a script that has to succeed.
   *
   * @returns the lines of its standard output
   */
  async lines(configuration: Configuration, script: string, options: CaptureOptions = {}): Promise<string[]> {
    const { status, stdout, stderr } = await this.shell(configuration, `set -eu -o pipefail\n${script}`, options);
    if (status !== 0) throw new Error(`exit status ${status ?? 'none'} of\n${script}\n${stdout}${stderr}`);
    return stdout.split('\n').filter((line) => line !== '');
  }

  /** Writes a file, executable for everybody, into a user's home directory, where scripts start. */
  async write(name: string, content: string, user = 'alice'): Promise<void> {
    const path = join(this.cluster.layout.home, user, name);
    await writeFile(path, content);
    await chmod(path, 0o755);
  }

  /** Imports an image that has one file, its name in /image, and no program. */
  async importTiny(name: string): Promise<void> {
    const root = await mkdtemp(join(this.cluster.dir, 'tiny-'));
    await writeFile(join(root, 'image'), `${name}\n`);
    await this.mustExec(['berth', 'import', name, root]);
    await rm(root, { recursive: true });
  }

  /** The file of an image in the store, as this machine sees it. */
  async imageFile(name: string): Promise<string> {
    const { store } = this.cluster.layout;
    const record = await readFile(join(store, 'refs/site', `${name}:latest.json`), 'utf8');
    const [, hex = ''] = /sha256:([0-9a-f]{64})/.exec(record) ?? [];
    return join(store, 'images/sha256', `${hex}.squashfs`);
  }

  /** Starts berthd on a node with the node's own configuration. */
  async startDaemon(node: string): Promise<void> {
    const [, off] = this.configurations;
    await this.cluster.startDaemon(node, off.nodes.includes(node) ? { config: this.configFile('off') } : {});
  }

  /** The mount and user namespace in which a node's own processes are. */
  async hostNamespaces(node: string): Promise<{ mount: string; user: string }> {
    const { stdout } = await this.cluster.exec(node, ['readlink', '/proc/self/ns/mnt', '/proc/self/ns/user']);
    const [mount = '', user = ''] = stdout.split('\n');
    return { mount, user };
  }

  private configFile(name: string): string {
    return join(this.directory, `${name}.toml`);
  }

  private async makePartition({ partition, nodes }: Configuration): Promise<void> {
    const words = [`PartitionName=${partition}`, `Nodes=${nodes.join(',')}`, 'OverSubscribe=FORCE', 'State=UP'];
    await this.mustExec(['scontrol', 'create', ...words]);
  }

  private async importImage(name: string): Promise<void> {
    const archive = await writeDebianImage(this.cluster.dir, name);
    await this.mustExec(['berth', 'import', name, archive]);
    await rm(archive);
  }

  private async mustExec(argv: readonly string[]): Promise<void> {
    const { status, stderr } = await this.cluster.exec('login', argv, { timeout: 60_000 });
    if (status !== 0) throw new Error(`${argv.join(' ')}: ${stderr}`);
  }
}
