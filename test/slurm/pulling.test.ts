// Images that are in a registry only: pulled when a job is submitted, or by the nodes when it starts.
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { compileStatic } from '../images/programs.js';
import { Link } from '../registry/link.js';
import { Registry } from '../registry/registry.js';
import { configurations, Site } from './site.js';
import { changePlugstack } from './plugstack.js';

const NODES = 16;
const [configuration] = configurations(NODES);

let registry: Registry;
let link: Link;
let site: Site;
let program: Buffer;
let filler: Buffer;
let images = 0;
/** Of the image that was pushed last. */
let layer: string;
beforeAll(async () => {
  registry = await Registry.start();
  link = await Link.open(registry.port);
  site = await Site.start({ nodes: NODES, images: [] });
  const file = join(site.cluster.dir, 'show');
  await compileStatic('show', file);
  program = await readFile(file);
  filler = Buffer.from(Array.from({ length: 1_000_000 }, (_, i) => (i * 2_654_435_761) >>> 13));
  const containers = join(site.cluster.layout.home, 'alice/.config/containers');
  await mkdir(containers, { recursive: true });
  await writeFile(join(containers, 'registries.conf'), `[[registry]]\nlocation = "${link.host}"\ninsecure = true\n`);
  await writeFile(join(containers, 'policy.json'), '{"default":[{"type":"insecureAcceptAnything"}]}');
});
afterAll(async () => {
  try {
    await site.stop();
  } finally {
    await link.close();
    await registry.stop();
  }
});
afterEach(() => {
  link.rate = undefined;
});

/** Puts an image that says `text` into the registry, under a name that is new unless it is given. */
async function push(text: string, name = `test/app${++images}:1`): Promise<string> {
  const content = { 'bin/show': program, image: `${text}\n`, [`filler${images}`]: filler };
  const { layers } = await registry.push(name, { layers: [{ content, compression: 'none' }] });
  layer = layers[0]?.digest ?? '';
  registry.forgetAccesses();
  return `${link.host}/${name}`;
}

const shell = (script: string): ReturnType<Site['shell']> => site.shell(configuration, script);

describe('at submit', () => {
  it('an image that is missing is pulled once, with progress on standard error, and runs everywhere', async () => {
    const image = await push('pulled');
    const { status, stdout, stderr } = await shell(`srun -N4 --image=${image} /bin/show`);
    expect({ status, stdout }).toEqual({ status: 0, stdout: 'pulled\n'.repeat(4) });
    expect(stderr).toContain('putting the image together');
    expect(registry.blobReads(layer)).toBe(1);
  });

  it('what sbatch prints is the number of the job alone', async () => {
    const image = await push('pulled');
    const { stdout } = await shell(
      `sbatch --parsable --output=out --wait --image=${image} --wrap 'srun /bin/show'; cat out`,
    );
    expect(stdout).toMatch(/^\d+\npulled\n$/);
  });

  it('no registry is asked about an image that the store has', async () => {
    const image = await push('pulled');
    await shell(`srun --image=${image} /bin/show`);
    registry.forgetAccesses();
    const { stdout } = await shell(
      `srun -N4 --image=${image} /bin/show; salloc --quiet --image=${image} srun /bin/show`,
    );
    expect(stdout).toBe('pulled\n'.repeat(5));
    expect(registry.accesses).toEqual([]);
  });

  it('a tag that moves in the registry, and is pulled anew, leaves a submitted job what it was', async () => {
    const image = await push('first', 'test/moved:1');
    const { stdout } = await shell(`sbatch --parsable --hold --output=out --image=${image} --wrap 'srun /bin/show'`);
    await push('second', 'test/moved:1');
    const after = await shell(`
      berth pull --quiet ${image} >/dev/null; scontrol release ${stdout}
      while squeue --noheader --jobs=${stdout.trim()} 2>/dev/null | grep -q .; do sleep 0.05; done
      cat out; srun --image=${image} /bin/show`);
    expect(after.stdout).toBe('first\nsecond\n');
  });

  it('what no registry has is an error, and nothing is submitted', async () => {
    for (const command of ['srun IMAGE true', 'salloc IMAGE true', 'sbatch IMAGE --wrap true']) {
      const { status, stdout, stderr } = await shell(
        `${command.replace('IMAGE', `--image=${link.host}/test/none:1`)}; s=$?; squeue -h; exit $s`,
      );
      expect(stderr).toContain('berth: BERTH_PULL_UNKNOWN: ');
      expect(stderr).toMatch(/berth: {3}hint: \S/);
      expect(status).toBeGreaterThan(0);
      expect(stdout).toBe('');
    }
  });

  it('Ctrl-C ends the pull and the command', async () => {
    const image = await push('slow');
    // The pull itself would take minutes.
    link.rate = 5_000;
    const { stdout } = await shell(
      `timeout --foreground -s INT 2 srun --image=${image} /bin/show; echo "status $?"; squeue -h`,
    );
    expect(stdout).toBe('status 124\n');
  });
});

describe('without berthd on the submit host', () => {
  beforeAll(async () => {
    await site.cluster.stopDaemon('login');
    return () => site.startDaemon('login');
  });

  it('the nodes, all at once, pull what is missing once', async () => {
    const image = await push('pulled by a node');
    const { status, stdout } = await shell(`srun -N${NODES} -n${2 * NODES} --image=${image} /bin/show`);
    expect({ status, stdout }).toEqual({ status: 0, stdout: 'pulled by a node\n'.repeat(2 * NODES) });
    expect(registry.blobReads(layer)).toBe(1);
    // One node asks what the tag means. The others wait for it, and then have it from the store.
    const asked = registry.accesses.filter(({ method, path }) => method === 'GET' && path.endsWith('/manifests/1'));
    expect(asked).toHaveLength(1);
  });

  it('srun shows how it is going, as one rank tells it', async () => {
    const image = await push('slow');
    link.rate = 250_000;
    const { status, stdout, stderr } = await shell(`srun -N2 -n4 --image=${image} /bin/show`);
    expect({ status, stdout }).toEqual({ status: 0, stdout: 'slow\n'.repeat(4) });
    const told = stderr.split('\n').filter((line) => line.startsWith('berth: '));
    expect(told.length).toBeGreaterThan(0);
    expect(told.length).toBeLessThan(8);
    for (const line of told) expect(line).toMatch(/^berth: n\d+: pulling 127\.0\.0\.1:\d+\/test\/app\d+:1/);
    expect(told.at(-1)).toMatch(/: (.* pulls it|.*[\d.]+ of [\d.]+ MB|.* are here, the image is being put together)/);
  });

  it('a step that waits for the pull of another node is told how far that is', async () => {
    const image = await push('slow');
    link.rate = 200_000;
    const step = (node: string): string => `srun --quiet --overcommit -w ${node} --image=${image} /bin/show`;
    const { stdout, stderr } = await shell(`${step('n2')} 2>/dev/null & sleep 2; ${step('n1')}; wait`);
    expect(stdout).toBe('slow\nslow\n');
    expect(stderr).toMatch(/^berth: n1: pulling \S+: n2 pulls it, [\d.]+ of [\d.]+ MB/m);
  });

  it('a pull that the kernel kills, for want of memory, is begun again, and the step runs', async () => {
    const image = await push('killed');
    link.rate = 300_000;
    // What encloses it has the same words in its command line.
    const { status, stdout, stderr } = await shell(`
      srun -N2 -n4 --image=${image} /bin/show & step=$!
      until pid=$(pgrep -f '^[^ ]*node [^ ]*cli.js pull .*${image}'); do sleep 0.05; done
      sleep 1; kill -KILL $pid; wait $step`);
    expect({ status, stdout }).toEqual({ status: 0, stdout: 'killed\n'.repeat(4) });
    // Of the pull of this node, or of the other one.
    expect(stderr).toMatch(
      /^berth: n\d+: pulling \S+: (it was killed|n\d+ pulls it, begun once more after it was killed)/m,
    );
  });

  it('a pull may take longer than a rank waits for a container', async () => {
    const image = await push('slow');
    link.rate = 300_000;
    const restore = await changePlugstack(site.cluster, (text) => text.replace('\n', ' timeout=2\n'));
    try {
      const { stdout } = await shell(`srun --image=${image} /bin/show`);
      expect(stdout).toBe('slow\n');
    } finally {
      await restore();
    }
  });

  it.each([
    ['Ctrl-C twice', 'srun --quiet --image=$IMAGE /bin/show & sleep 2; kill -INT $!; sleep 0.3; kill -INT $!; wait $!'],
    ['scancel', 'srun --quiet --job-name=pulls --image=$IMAGE /bin/show & sleep 2; scancel --name=pulls; wait $!'],
  ])('%s ends the pull, and nothing is left', async (_, script) => {
    const image = await push('slow');
    // The pull itself would take minutes.
    link.rate = 5_000;
    // As a terminal's shell would have it: what it starts in the background hears SIGINT.
    const { stdout } = await shell(`set -m; IMAGE=${image}; ${script}; squeue --noheader --format=%t`);
    expect(stdout.replace('CG\n', '')).toBe('');
    const processes = async (): Promise<string> =>
      (await site.cluster.exec('n1', ['pgrep', '-a', '-f', `cli.js pull.*${image}`])).stdout;
    await expect.poll(processes).toBe('');
  });
});
