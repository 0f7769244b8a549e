// A name is looked up when a job is submitted; what it meant then is what runs, wherever and whenever.
import { beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { configurations, Site } from './site.js';
import { ImageMaker } from './image-maker.js';

const [configuration] = configurations(2);

let site: Site;
let maker: ImageMaker;
beforeAll(async () => {
  site = await Site.start({
    nodes: 2,
    images: [],
    slurmConf: 'PrologFlags=Alloc\n',
    plugstackArguments: 'wait=0 pull=no contain=batch',
    berthConfig: [
      'import = "anyone"',
      'pull_at_launch = false',
      '[slurm]',
      'prepare = true',
      'spool_dir = "/var/spool/slurmd"',
      '[container]\n',
    ].join('\n'),
    prepare: async (started) => {
      maker = await ImageMaker.make(started);
    },
  });
  return () => site.stop();
});

const lines = (script: string): Promise<string[]> => site.lines(configuration, script);

/** Starts a script when `release` exists, and lets the test do something before. */
async function whileWaiting(script: string, meanwhile: () => Promise<unknown>): Promise<string[]> {
  await lines('rm -f waiting release');
  const running = lines(script);
  running.catch(() => undefined);
  await lines('until [ -e waiting ]; do sleep 0.02; done');
  await meanwhile();
  await lines('touch release');
  return running;
}

const WAIT = 'touch waiting; until [ -e release ]; do sleep 0.02; done';

/** Submits a job that is held while `app` gets another image, and gives what it wrote. */
async function submitAndMove(options: string, script: string): Promise<string[]> {
  await site.write('job.sh', `#!/bin/show\n`);
  await site.write('steps.sh', `#!/bin/bash\n${script}\n`);
  const [job = ''] = await lines(`rm -f out*; sbatch --parsable --hold --output=out.%a ${options}`);
  await maker.import('app', 'second');
  return lines(`
    scontrol release ${job}
    while squeue --noheader --jobs=${job} 2>/dev/null | grep -q .; do sleep 0.05; done
    cat out*`);
}

beforeEach(() => maker.import('app', 'first'));

describe('a name that gets another image between submit and start', () => {
  it.each(['ALL', 'NONE', 'NIL', 'HOME', 'A=1'])('in a batch script, with --export=%s', async (environment) => {
    expect(await submitAndMove(`--image=app --export=${environment} job.sh`, '')).toEqual(['first']);
  });

  const steps = [
    'PATH=/usr/bin:/bin',
    'srun --quiet -N1 -n1 /bin/show',
    'srun --quiet -N1 -n1 --image=app /bin/show',
    'srun --quiet -N1 -n1 --export=NONE /bin/show',
    'srun --quiet -N1 -n1 --export=A=1 --image=app /bin/show',
    'srun --quiet -N2 -n2 /bin/show',
  ];

  it.each(['ALL', 'NONE', 'NIL', 'A=1'])('in the steps of a batch script, with --export=%s', async (environment) => {
    // The script is on the host: the job's image is that of its steps.
    const script = `--image=app --export=${environment} -N2 --wrap '${steps.join('; ')}'`;
    await withoutContainedBatch(async () => {
      expect(await submitAndMove(script, '')).toEqual(Array.from({ length: 6 }, () => 'first'));
    });
  });

  it('in a job array', async () => {
    expect(await submitAndMove('--image=app --array=1-3 job.sh', '')).toEqual(['first', 'first', 'first']);
  });

  it('in an allocation', async () => {
    const script = `salloc --quiet -N2 --image=app bash -c '${WAIT}; ${steps.join('; ')}'`;
    const seen = await whileWaiting(script, () => maker.import('app', 'second'));
    expect(seen).toEqual(Array.from({ length: 6 }, () => 'first'));
  });

  it('in the components of a heterogeneous job', async () => {
    const script = `salloc --quiet -n1 --image=app : -n1 --image=app bash -c '${WAIT}; srun --het-group=0,1 /bin/show'`;
    expect(await whileWaiting(script, () => maker.import('app', 'second'))).toEqual(['first', 'first']);
  });
});

describe('a pin counts for', () => {
  it('the name it was made of, as it was written', async () => {
    const script = `salloc --quiet --image=app bash -c '${WAIT}; srun --image=app:latest /bin/show; srun /bin/show'`;
    expect(await whileWaiting(script, () => maker.import('app', 'second'))).toEqual(['second', 'first']);
  });

  it('its own job: one that is submitted from within is pinned anew', async () => {
    const script = `salloc --quiet --image=app bash -c '${WAIT}; batch --output=inner --image=app job.sh; cat inner'`;
    await site.write('job.sh', '#!/bin/show\n');
    const seen = await whileWaiting(`export -f batch; ${script}`, () => maker.import('app', 'second'));
    expect(seen).toEqual(['second']);
  });

  it('nobody who may not use the image', async () => {
    const digest = await maker.importAs('alice', 'private', 'secret');
    expect(await lines('srun --image=private /bin/show')).toEqual(['secret']);
    const pin = `private:latest@${digest}\tapp`;
    const { status, stdout, stderr } = await site.shell(
      configuration,
      `salloc --quiet --image=app bash -c 'SLURM_SPANK_BERTH_PIN="${pin}" srun /bin/show'`,
      { user: 'bob' },
    );
    expect(stdout).not.toContain('secret');
    expect(stderr).toContain('BERTH_IMAGE_UNKNOWN');
    expect(status).toBe(1);
  });
});

it('the prolog prepares what the job is pinned to', async () => {
  const [job = ''] = await lines("sbatch --parsable --hold --output=out --image=app --wrap 'srun /bin/show'");
  await maker.import('app', 'second');
  await withoutContainedBatch(async () => {
    await lines(`
      scontrol release ${job}
      while squeue --noheader --jobs=${job} 2>/dev/null | grep -q .; do sleep 0.05; done
      cat out`);
  });
  const built = await maker.builtFor(Number(job), configuration.nodes);
  expect(built).toEqual([{ purpose: 'PURPOSE_PREPARE', image: 'app:latest' }]);
});

describe('an image that cannot be had is an error at submit', () => {
  it.each([
    ['srun', (image: string) => `srun --image=${image} touch ran`],
    ['salloc', (image: string) => `salloc --image=${image} touch ran`],
    ['sbatch', (image: string) => `sbatch --image=${image} --wrap 'touch ran'`],
  ])('of %s', async (_, command) => {
    const jobs = await nextJob();
    for (const [image, code] of [
      ['unknown', 'BERTH_IMAGE_UNKNOWN'],
      [`sha256:${'0'.repeat(64)}`, 'BERTH_IMAGE_UNKNOWN'],
      ['user:bob/app', 'BERTH_IMAGE_UNKNOWN'],
      ['UPPER', 'BERTH_IMAGE_NAME'],
    ] as const) {
      const { status, stderr, stdout } = await site.shell(configuration, `rm -f ran; ${command(image)}`);
      expect(stderr).toMatch(new RegExp(`berth: ${code}: .*\\n.*berth: {3}why: \\S.*\\n.*berth: {3}hint: \\S`));
      expect(status).toBeGreaterThan(0);
      expect(stdout).toBe('');
    }
    expect(await nextJob()).toBe(jobs + 1);
    expect(await lines('ls ran 2>/dev/null || true')).toEqual([]);
  });
});

describe('a batch script with heterogeneous components, which would all get what the first asks for, is refused', () => {
  it.each([
    ['with two images', '--image=app', '--image=other', 'app and other'],
    ['with an image for the second alone', '', '--image=app', 'none and app'],
  ])('%s', async (_, first, second, both) => {
    await maker.import('other', 'other');
    const lines = ['#!/bin/bash', `#SBATCH -n1 ${first}`, '#SBATCH hetjob', `#SBATCH -n1 ${second}`, 'true', ''];
    await site.write('het.sh', lines.join('\n'));
    const { status, stdout, stderr } = await site.shell(configuration, 'sbatch het.sh');
    expect(stderr).toContain(`BERTH_OPTION: --image was given both ${both}`);
    expect({ status, stdout }).toEqual({ status: 1, stdout: '' });
  });
});

describe('without berthd on the submit host', () => {
  beforeAll(async () => {
    await site.cluster.killDaemon('login');
    return () => site.startDaemon('login');
  });
  it('nothing is said of it, and the nodes find out what the name means', async () => {
    const { status, stdout, stderr } = await site.shell(configuration, 'srun --quiet -N2 --image=app /bin/show');
    expect({ status, stdout, stderr }).toEqual({ status: 0, stdout: 'first\nfirst\n', stderr: '' });
  });

  it("another job's pin, in the environment, is not taken", async () => {
    const pin = `app:latest@sha256:${'0'.repeat(64)}\tapp`;
    const script = `export SLURM_SPANK_BERTH_PIN='${pin}'; salloc --quiet --image=app srun /bin/show`;
    expect(await lines(script)).toEqual(['first']);
  });

  it('an image that no node has is an error of the ranks', async () => {
    const { status, stderr } = await site.shell(configuration, 'srun --image=unknown /bin/show');
    expect(stderr).toContain('BERTH_IMAGE_UNKNOWN: there is no image unknown');
    expect(status).toBe(1);
  });
});

/** The number of a job that is submitted now. */
async function nextJob(): Promise<number> {
  const [job = ''] = await lines('sbatch --parsable --hold --wrap true; squeue -h -o %i | xargs -r scancel');
  return Number(job);
}

/** Batch scripts run on the host meanwhile, as they do by default. */
async function withoutContainedBatch(work: () => Promise<void>): Promise<void> {
  const restore = await maker.replaceInPlugstack(' contain=batch', '');
  try {
    await work();
  } finally {
    await restore();
  }
}
