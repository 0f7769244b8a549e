/**
 * The cluster on which the documentation's examples run, with what they take for granted.
 *
 * Stand-ins, as no test may need the Internet or a GPU (stand-ins.ts):
 * - A registry on this machine is asked for what would be fetched from Docker Hub and others. What is pulled from it is a
 *   Debian, whose apt-get finds a package `hello` in the image itself; `alpine` has a shell and cat.
 * - The site's images are one Debian with MPICH, Open MPI and NumPy, under several names; `base` has a shell and cat.
 * - A GPU is a character device that does nothing. Its CDI specification brings a script as `nvidia-smi`.
 * - `lmp` (LAMMPS) is a small program of Open MPI's that takes any arguments, in the user's own bin directory.
 * - $SCRATCH, a parallel file system elsewhere, is a directory.
 */
import { copyFile, cp, mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { debianRootfs } from '../../../scripts/library/rootfs.js';
import { Cluster } from '../../cluster/cluster.js';
import { repository } from '../../cluster/layout.js';
import { MPI_NETWORK } from '../../cluster/mpi.js';
import { compileMpi } from '../../images/programs.js';
import { Registry } from '../../registry/registry.js';
import { expectNothingLeft } from '../leftovers.js';
import { fillRegistry, makeCard, makeSmallRoot, registriesConf } from './stand-ins.js';

/** Of one root file system, each. */
const SITE_IMAGES = ['debian', 'lammps', 'mpich', 'openmpi', 'python'];

// Heterogeneous jobs are started by the backfill scheduler alone, which looks every 30 s unless told otherwise.
const SLURM_CONF = 'SchedulerParameters=batch_sched_delay=0,sched_min_interval=0,bf_interval=1\nGresTypes=gpu\n';

/** The environment of everybody's terminals. */
const ENVIRONMENT = {
  SCRATCH: '/home/alice/scratch',
  XDG_RUNTIME_DIR: '/home/alice/run',
  // Two processors: ranks that wait for each other are to let the others run.
  OMPI_MCA_mpi_yield_when_idle: '1',
  ...MPI_NETWORK,
};

export class ReadersSite {
  private constructor(
    readonly cluster: Cluster,
    private readonly registry: Registry,
    private readonly smallRoot: string,
    private readonly directories: readonly string[],
  ) {}

  /** Takes some 20 s, and a minute more when the root file systems of its images have to be made first. */
  static async start(): Promise<ReadersSite> {
    const directory = await mkdtemp(join(tmpdir(), 'berth-documentation-'));
    // Nodes have a /tmp of their own.
    const devices = await mkdtemp('/var/tmp/berth-documentation-');
    const directories = [directory, devices];
    let registry: Registry | undefined;
    let cluster: Cluster | undefined;
    try {
      registry = await Registry.start();
      const small = join(directory, 'small');
      await makeSmallRoot(small);
      await Promise.all([makeCard(devices), fillRegistry(registry, small, directory)]);
      cluster = await Cluster.up({
        dir: join(directory, 'cluster'),
        nodes: 2,
        slurmConf: SLURM_CONF,
        nodeParameters: 'Gres=gpu:1',
        slurmFiles: { 'gres.conf': `Name=gpu File=${devices}/card0\n` },
        berthConfig:
          '[store]\ncompression_level = 1\nimport = "anyone"\n' +
          `[modules]\ncdi_directories = ["${devices}/cdi"]\n[container]\n`,
      });
      const site = new ReadersSite(cluster, registry, small, directories);
      await site.furnish(devices);
      return site;
    } catch (error) {
      await cluster?.down();
      await registry?.stop();
      for (const each of directories) await rm(each, { recursive: true, force: true });
      throw error;
    }
  }

  /** The environment of a terminal. */
  get environment(): Readonly<Record<string, string>> {
    return ENVIRONMENT;
  }

  /** Makes the directory in which a page's examples run, and returns its path there. */
  async makeDirectory(page: string): Promise<string> {
    const path = `/home/alice/${page}`;
    await this.must(['mkdir', path], 'alice');
    if (page === 'images') await this.must(['cp', '-r', '/home/alice/.rootfs', `${path}/rootfs`], 'alice');
    return path;
  }

  /** Runs a program that has to succeed. */
  async must(argv: readonly string[], user = 'root', host = 'login', stdin?: string): Promise<string> {
    const options = { user, timeout: 60_000, ...(stdin === undefined ? {} : { stdin }) };
    const { status, stdout, stderr } = await this.cluster.exec(host, argv, options);
    if (status !== 0) throw new Error(`${argv.join(' ')}: ${stdout}${stderr}`);
    return stdout;
  }

  /** Ends the site, after making sure that the examples have left nothing. */
  async stop(): Promise<void> {
    try {
      await expectNothingLeft(this.cluster);
    } finally {
      await this.cluster.down();
      await this.registry.stop();
      for (const each of this.directories) await rm(each, { recursive: true, force: true });
    }
  }

  private async furnish(devices: string): Promise<void> {
    await this.makeHome();
    await Promise.all([this.importImages(), this.installModules(devices)]);
  }

  private async importImages(): Promise<void> {
    const { tar } = await debianRootfs('documentation', ['mpich', 'openmpi-bin', 'python3-numpy']);
    // Hosts see the cluster's directory; not every checkout is where they see it.
    const archive = join(this.cluster.dir, 'debian.tar');
    await copyFile(tar, archive);
    const [first = '', ...others] = SITE_IMAGES;
    await this.must(['berth', 'import', first, archive]);
    for (const name of others) await this.must(['berth', 'tag', first, name]);
    await rm(archive);
    await this.must(['berth', 'import', 'base', '/home/alice/.rootfs']);
  }

  private async makeHome(): Promise<void> {
    const home = join(this.cluster.layout.home, 'alice');
    const containers = join(home, '.config/containers');
    await Promise.all(['bin', 'scratch', 'run'].map((name) => mkdir(join(home, name), { recursive: true })));
    await mkdir(containers, { recursive: true });
    await writeFile(join(containers, 'registries.conf'), registriesConf(this.registry));
    await writeFile(join(containers, 'policy.json'), '{"default":[{"type":"insecureAcceptAnything"}]}');
    await compileMpi('exchange', 'openmpi', join(home, 'bin/lmp'));
    await cp(this.smallRoot, join(home, '.rootfs'), { recursive: true });
    await this.must(['chown', '-R', 'alice:alice', '/home/alice']);
  }

  /** The modules that come with Berth where packages put them; the site's own for its GPUs, and its definition file. */
  private async installModules(devices: string): Promise<void> {
    const environments = join(this.cluster.layout.berthEtc, 'environments');
    await mkdir(environments);
    await writeFile(join(environments, 'site-python.toml'), 'image = "python"\n');
    const share = join(devices, 'share');
    const installed = join(this.cluster.layout.berthEtc, 'modules.d');
    await mkdir(installed);
    await mkdir(join(share, 'berth'), { recursive: true });
    await cp(join(repository, 'share/modules.d'), join(share, 'berth/modules.d'), { recursive: true });
    const gpu = await readFile(join(repository, 'share/modules.d/gpu.toml'), 'utf8');
    await writeFile(join(installed, 'gpu.toml'), gpu.replace('/dev/nvidia', `${devices}/card`));
    const mount = ['mount', '-t', 'overlay', '-o', `ro,lowerdir=${share}:/usr/share`, 'overlay', '/usr/share'];
    await this.must(mount);
  }
}
