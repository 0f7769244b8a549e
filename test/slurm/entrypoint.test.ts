// What an image's entrypoint prepares is there for the program; the program itself is Slurm's as ever.
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { compileStatic } from '../images/programs.js';
import { Registry } from '../registry/registry.js';
import { configurations, Site } from './site.js';

const both = configurations();
const [anyConfiguration] = both;

let registry: Registry;
let site: Site;
beforeAll(async () => {
  registry = await Registry.start();
  site = await Site.start({ images: [] });
  const containers = join(site.cluster.layout.home, 'alice/.config/containers');
  await mkdir(containers, { recursive: true });
  const conf = `[[registry]]\nlocation = "${registry.host}"\ninsecure = true\n`;
  await writeFile(join(containers, 'registries.conf'), conf);
  await writeFile(join(containers, 'policy.json'), '{"default":[{"type":"insecureAcceptAnything"}]}');
  const [prepare, state] = await Promise.all(['prepare', 'state'].map(program));
  const content = { 'bin/prepare': prepare ?? '', 'bin/state': state ?? '', 'place/file': '' };
  for (const how of ['well', 'forks', 'fails', 'swallows']) {
    const config = { Entrypoint: ['prepare', how], Env: ['PATH=/bin', 'REMOVED=no'] };
    await registry.push(`test/${how}:1`, { layers: [{ content }], config });
  }
  const missing = { Entrypoint: ['/bin/missing'] };
  await registry.push('test/missing:1', { layers: [{ content }], config: missing });
  for (const name of ['well', 'forks', 'fails', 'swallows', 'missing'])
    await site.lines(anyConfiguration, `berth pull --quiet ${image(name)}`);
});
afterAll(async () => {
  try {
    await site.stop();
  } finally {
    await registry.stop();
  }
});

async function program(name: string): Promise<Buffer> {
  const file = join(site.cluster.dir, `program-${name}`);
  await compileStatic(name, file);
  return readFile(file);
}

const image = (name: string): string => `${registry.host}/test/${name}:1`;

describe.each(both)('with userns = $userns', (configuration) => {
  const lines = async (script: string): Promise<string[]> => (await site.lines(configuration, script)).sort();
  const shell = (script: string): ReturnType<Site['shell']> => site.shell(configuration, script);

  it.each(['well', 'forks'])(
    'an entrypoint that does %s: environment, directory and umask, of each rank',
    async (how) => {
      expect(await lines(`srun -n3 --image=${image(how)} --container-entrypoint /bin/state </dev/null`)).toEqual(
        [0, 1, 2].map((rank) => `for rank ${rank}|unset|sound|/place|027|`),
      );
    },
  );

  it('the programs of --multi-prog, and those that only the PATH of the image has', async () => {
    const script = `printf '0 /bin/state\\n1 state\\n' >programs
      srun -n2 --image=${image('well')} --container-entrypoint --multi-prog programs </dev/null`;
    expect(await lines(script)).toEqual([0, 1].map((rank) => `for rank ${rank}|unset|sound|/place|027|`));
  });

  it("standard input and exit status are the program's", async () => {
    const { status, stdout } = await shell(
      `echo hello | srun --quiet --image=${image('forks')} --container-entrypoint /bin/state 7`,
    );
    expect({ status, stdout }).toEqual({ status: 7, stdout: 'for rank 0|unset|sound|/place|027|hello\n' });
  });

  it('it is not run unasked, and its output is shown when that is asked for', async () => {
    const [plain = ''] = await lines(`srun --image=${image('well')} /bin/state </dev/null`);
    expect(plain).toMatch(/^unset\|no\|sound\|/);
    const options = `--image=${image('well')} --container-entrypoint --container-entrypoint-log`;
    expect(await lines(`srun -n2 ${options} /bin/state </dev/null | grep preparing`)).toEqual([
      'preparing 0',
      'preparing 1',
    ]);
  });

  it.each([
    ['fails', 'it ended with status 3'],
    ['swallows', 'it ended without running the command it was given'],
    ['missing', 'execvp /bin/missing: No such file or directory'],
  ])('one that %s keeps the program from starting', async (how, why) => {
    const { status, stdout, stderr } = await shell(
      `srun --image=${image(how)} --container-entrypoint /bin/state </dev/null`,
    );
    expect(stderr).toContain("BERTH_ENTRYPOINT: the image's entrypoint has not prepared the program on");
    expect(stderr).toContain(`why: ${why}`);
    expect({ status, stdout }).toEqual({ status: 1, stdout: '' });
  });
});
