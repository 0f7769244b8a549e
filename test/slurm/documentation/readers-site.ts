/**
 * The cluster on which the documentation's examples run, with what they take for granted.
 *
 * Stand-ins, as no test may need the Internet or a GPU:
 * - A registry on this machine is asked for what would be fetched from Docker Hub and others. Whatever is pulled from it is
 *   one small Debian, whose apt-get finds a package `hello` in the image itself.
 * - The site's images are one Debian with MPICH, Open MPI and NumPy, under several names; `base` has a shell and cat.
 * - A GPU is a character device that does nothing. Its CDI specification brings a script as `nvidia-smi`.
 * - `lmp` (LAMMPS) is a small program of Open MPI's that takes any arguments, in the user's own bin directory.
 * - $SCRATCH, a parallel file system elsewhere, is a directory.
 */
import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { chmod, copyFile, cp, mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { debianRootfs } from '../../../scripts/library/rootfs.js';
import { Cluster } from '../../cluster/cluster.js';
import { repository } from '../../cluster/layout.js';
import { compileMpi } from '../../images/programs.js';
import { Registry } from '../../registry/registry.js';
import { expectNothingLeft } from '../leftovers.js';

const run = promisify(execFile);

/** What examples pull. */
const REMOTE: readonly (readonly [repository: string, tag: string])[] = [
  ['docker.io/library/debian', '12'],
  ['docker.io/library/ubuntu', '24.04'],
  ['docker.io/pytorch/pytorch', '2.4'],
  ['docker.io/jupyter/base-notebook', 'latest'],
  ['nvcr.io/nvidia/pytorch', '24.06-py3'],
  ['registry.site.org/hpc/lammps', '2024'],
];
const PULLED_AS = 'image';
const SITE_IMAGES = ['debian', 'lammps', 'mpich', 'openmpi', 'python'];

// Heterogeneous jobs are started by the backfill scheduler alone, which looks every 30 s unless told otherwise.
const SLURM_CONF = 'SchedulerParameters=batch_sched_delay=0,sched_min_interval=0,bf_interval=1\nGresTypes=gpu\n';

/** The environment of everybody's terminals. */
const ENVIRONMENT = {
  SCRATCH: '/home/alice/scratch',
  XDG_RUNTIME_DIR: '/home/alice/run',
  // Two processors: ranks that wait for each other are to let the others run.
  OMPI_MCA_mpi_yield_when_idle: '1',
  // The nodes have one kernel, by which UCX takes them for one; nodes do not share /proc and /dev/shm (mpi.test.ts).
  UCX_TLS: 'sysv,self',
};

export class ReadersSite {
  private constructor(
    readonly cluster: Cluster,
    private readonly registry: Registry,
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
      await Promise.all([makeCard(devices), fillRegistry(registry, directory)]);
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
      const site = new ReadersSite(cluster, registry, directories);
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
    await Promise.all(
      ['bin', 'scratch', 'run', '.rootfs/bin'].map((name) => mkdir(join(home, name), { recursive: true })),
    );
    await mkdir(containers, { recursive: true });
    const mirrors = REMOTE.map(
      ([name]) =>
        `[[registry]]\nprefix = "${name}"\nlocation = "${this.registry.host}/${PULLED_AS}"\ninsecure = true\n`,
    );
    // Whatever no example pulls is not looked for on the Internet either.
    const elsewhere = ['docker.io', 'ghcr.io'].map(
      (name) => `[[registry]]\nprefix = "${name}"\nlocation = "${this.registry.host}/none"\ninsecure = true\n`,
    );
    await writeFile(
      join(containers, 'registries.conf'),
      ['unqualified-search-registries = ["docker.io"]\n', ...mirrors, ...elsewhere].join(''),
    );
    await writeFile(join(containers, 'policy.json'), '{"default":[{"type":"insecureAcceptAnything"}]}');
    await compileMpi('exchange', 'openmpi', join(home, 'bin/lmp'));
    const script = `cd ${home}/.rootfs; mkdir etc; cp /bin/dash bin/sh; cp /bin/cat bin/
      for library in $(ldd /bin/dash /bin/cat | grep -o '/lib[^ ]*' | sort -u); do
        mkdir -p ".$(dirname "$library")"; cp -L "$library" ".$library"
      done`;
    await run('sh', ['-euc', script]);
    await this.must(['chown', '-R', 'alice:alice', '/home/alice']);
  }

  /** The modules that come with Berth where packages put them, and the site's own for its GPUs. */
  private async installModules(devices: string): Promise<void> {
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

async function makeCard(directory: string): Promise<void> {
  await chmod(directory, 0o755);
  for (const name of ['cdi', 'driver']) await mkdir(join(directory, name));
  // The machine's full device: opening it does nothing.
  await run('mknod', ['--mode=0666', join(directory, 'card0'), 'c', '1', '7']);
  const program = join(directory, 'driver/nvidia-smi');
  await writeFile(program, '#!/bin/sh\necho "GPU 0: NVIDIA A100-SXM4-80GB (UUID: GPU-0b4a…)"\n');
  await chmod(program, 0o755);
  const edits = {
    deviceNodes: [{ path: '/cards/0', hostPath: join(directory, 'card0') }],
    mounts: [{ hostPath: program, containerPath: '/usr/bin/nvidia-smi', options: ['ro'] }],
  };
  const specification = {
    cdiVersion: '0.6.0',
    kind: 'nvidia.com/gpu',
    devices: [{ name: '0', containerEdits: edits }],
  };
  await writeFile(join(directory, 'cdi/nvidia.json'), JSON.stringify(specification));
}

async function fillRegistry(registry: Registry, directory: string): Promise<void> {
  const { tar } = await debianRootfs('minimal', []);
  const contents = [await readFile(tar), await makePackages(join(directory, 'hello'))];
  const [first] = REMOTE;
  const { manifest } = await registry.push(`${PULLED_AS}:${first?.[1] ?? ''}`, {
    layers: contents.map((content) => ({ content, compression: 'none' })),
    config: { Env: ['PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin'], Cmd: ['bash'] },
  });
  for (const [, tag] of REMOTE) {
    const answer = await fetch(`http://${registry.host}/v2/${PULLED_AS}/manifests/${tag}`, {
      method: 'PUT',
      headers: { 'content-type': manifest.mediaType },
      body: manifest.bytes,
    });
    if (!answer.ok) throw new Error(`${answer.status} ${await answer.text()}`);
  }
}

/** The files of an image in which apt-get finds one package, that is called as GNU's and does the same. */
async function makePackages(directory: string): Promise<Record<string, string | Buffer>> {
  for (const name of ['DEBIAN', 'usr/bin']) await mkdir(join(directory, name), { recursive: true });
  const control = ['Package: hello', 'Version: 2.10', 'Architecture: all', 'Maintainer: nobody <nobody@invalid>'];
  const description = 'Description: says hello\n';
  await writeFile(join(directory, 'DEBIAN/control'), [...control, description].join('\n'));
  await writeFile(join(directory, 'usr/bin/hello'), '#!/bin/sh\necho "Hello, world!"\n', { mode: 0o755 });
  const archive = `${directory}.deb`;
  await run('dpkg-deb', ['--root-owner-group', '--build', directory, archive]);
  const content = await readFile(archive);
  const digest = createHash('sha256').update(content).digest('hex');
  const found = ['Filename: ./hello.deb', `Size: ${content.length}`, `SHA256: ${digest}`];
  return {
    'etc/apt/sources.list': 'deb [trusted=yes] file:/usr/share/packages ./\n',
    'usr/share/packages/hello.deb': content,
    'usr/share/packages/Packages': [...control, ...found, description].join('\n'),
  };
}
