// Shifter's job scripts, unchanged: `shifter` on hosts and in containers, for images of the command, the step and the job.
import { join } from 'node:path';
import { afterEach, beforeAll, describe, expect, it } from 'vitest';
import { compile, compileMpi } from '../images/programs.js';
import type { CommandResult } from '../cluster/command.js';
import { artifacts } from '../cluster/layout.js';
import { EXPORT_MPI_NETWORK } from '../cluster/mpi.js';
import { expectNothingLeft } from './leftovers.js';
import { configurations, Site } from './site.js';

const NODES = 2;
const [on] = configurations(NODES);

let site: Site;
beforeAll(async () => {
  site = await Site.start({ nodes: NODES, images: ['debian', 'other'], prepare: compilePrograms });
  return () => site.stop();
});

afterEach(() => expectNothingLeft(site.cluster));

async function compilePrograms({ cluster }: Site): Promise<void> {
  const home = join(cluster.layout.home, 'alice');
  await Promise.all([
    compileMpi('exchange', 'mpich', join(home, 'exchange.mpich')),
    compileMpi('exchange', 'openmpi', join(home, 'exchange.openmpi')),
    compile('peek', join(home, 'peek')),
  ]);
}

const lines = (script: string): Promise<string[]> => site.lines(on, script);
const shell = (script: string): Promise<CommandResult> => site.shell(on, script);

describe('shifter outside of containers', () => {
  it('runs a program in the image that it names, on the login host and in steps', async () => {
    const script = `
      shifter --image=debian cat /image
      shifter --image=debian:latest -- cat /image
      srun --quiet -N2 shifter --image=debian:latest cat /image
      salloc --quiet -N1 srun --quiet shifter --image=other cat /image`;
    expect(await lines(script)).toEqual(['debian', 'debian', 'debian', 'debian', 'other']);
  });

  it("has the image of the job where it names none, and the job's other options where it says nothing else", async () => {
    await site.write(
      'job.sh',
      '#!/bin/bash\nshifter cat /image\nshifter ls -d /mnt/alice\nshifter --image=other cat /image\n',
    );
    const seen = await lines(`
      batch -o job.out --image=debian --volume=/home:/mnt ./job.sh; cat job.out
      SHIFTER_IMAGE=other shifter cat /image
      SHIFTER_IMAGE=debian shifter --volume=/home:/opt/home ls -d /opt/home/alice`);
    expect(seen).toEqual(['debian', '/mnt/alice', 'other', 'other', '/opt/home/alice']);
  });

  it('is the interpreter of a batch script, which then is in the container', async () => {
    const interpreter = join(artifacts.programs, 'shifter');
    const script = 'cat /image\nls -d /mnt/alice\necho "$@"\n';
    const options = '#SBATCH --image=debian\n#SBATCH --volume=/home:/mnt\n';
    await site.write('inside.sh', `#!${interpreter} /bin/bash\n${options}${script}`);
    const seen = await lines('batch -o inside.out ./inside.sh one two; cat inside.out');
    expect(seen).toEqual(['debian', '/mnt/alice', 'one two']);
  });

  it('takes variables, directories and entrypoints as Shifter does', async () => {
    await site.write('variables', 'FILE=1\n');
    const script = `
      shifter --image=debian -e A=b --env-file=variables --workdir=/usr sh -c 'echo $A $FILE; pwd'
      shifter --image=debian --entrypoint=/bin/echo said
      shifter --image=debian --module=none id -un
      shifter --image=debian -V /usr:/mnt/a';'/home:/mnt/b ls -d /mnt/a/bin /mnt/b/alice
      echo 'cat /image' | shifter --image=debian`;
    expect(await lines(script)).toEqual(['b 1', '/usr', 'said', 'alice', '/mnt/a/bin', '/mnt/b/alice', 'debian']);
  });

  it('is refused without an image, or with an option that Shifter has not', async () => {
    expect(await shell('shifter true')).toMatchObject({
      status: 125,
      stderr: expect.stringContaining('neither --image nor') as string,
    });
    expect(await shell('shifter --nonsense true')).toMatchObject({
      status: 125,
      stderr: expect.stringContaining('there is no such option') as string,
    });
  });

  it.each([
    { mpi: 'mpich', slurm: 'pmi2' },
    { mpi: 'openmpi', slurm: 'pmix' },
  ])('starts ranks of $mpi, which reach each other', async ({ mpi, slurm }) => {
    const srun = `srun --quiet --mpi=${slurm}`;
    const seen = await lines(`
      ${srun} -N1 -n2 shifter --image=debian ./exchange.${mpi}
      ${EXPORT_MPI_NETWORK}
      ${srun} -N2 -n4 shifter --image=debian ./exchange.${mpi}`);
    expect(seen).toEqual(['2 ranks: sum 3, ring 1', '4 ranks: sum 10, ring 3']);
  });

  it("starts ranks that share a container on a node, and read each other's memory", async () => {
    const seen = await lines(`
      mkdir -p meeting; rm -f meeting/*
      srun --quiet -N1 -n2 shifter --image=debian ./peek meeting
      srun --quiet -N1 -n4 shifter --image=debian sh -c 'readlink /proc/self/ns/mnt; sleep 0.5' | sort -u | wc -l`);
    expect(seen).toEqual(['what rank 0 knows', '1']);
  });

  it('has the exit status and the signals of the program', async () => {
    const script = `
      srun --quiet shifter --image=debian sh -c 'exit 3' 2>/dev/null || echo $?
      shifter --image=debian sh -c 'kill -9 $$' 2>/dev/null || echo $?`;
    expect(await lines(script)).toEqual(['3', '137']);
  });
});

describe('shifter in a container', () => {
  // Not the cluster's own, which lies at a path that containers have too.
  const inside = 'export PATH=/usr/bin:/bin; srun() { command srun --quiet --mpi=none "$@"; }';

  it('starts the program where it is', async () => {
    const script = `
      ${inside}
      srun --image=debian shifter cat /image
      srun --image=debian shifter --image=debian:latest -e A=b --workdir=/usr sh -c 'echo $A; pwd'
      srun --image=debian shifter --workdir=/usr printenv PWD
      srun --image=debian --volume=/home:/mnt --module=none shifter --volume=/home:/mnt --module=none ls -d /mnt/alice
      srun --image=debian sh -c 'type shifter; echo $PATH'
      srun --image=debian shifter --entrypoint=/bin/echo said
      echo 'cat /image' | srun --image=debian shifter`;
    expect(await lines(script)).toEqual([
      ...['debian', 'b', '/usr', '/usr', '/mnt/alice', 'shifter is /.berth/bin/shifter', '/usr/bin:/bin:/.berth/bin'],
      ...['said', 'debian'],
    ]);
  });

  it.each([
    ['--image=other', 'shifter cannot take --image=other here', 'of the image debian:latest'],
    ['--volume=/tmp:/mnt', 'shifter cannot take --volume here', 'made without that volume'],
    ['--module=mpich', 'shifter cannot take --module here', 'modules were chosen otherwise'],
    ['--workdir=/nowhere', 'shifter cannot take --workdir here', 'No such file'],
  ])('says that %s is for srun', async (option, what, why) => {
    const { status, stdout, stderr } = await shell(`${inside}; srun --image=debian shifter ${option} echo ran`);
    expect({ status, stdout }).toEqual({ status: 2, stdout: '' });
    expect(stderr).toContain(`BERTH_SHIFTER_INSIDE: ${what}`);
    expect(stderr).toContain(why);
    expect(stderr).toContain('hint: give it to srun instead');
  });

  it("does not stand in the way of an image's own", async () => {
    const script = `
      ${inside}
      mkdir -p own; printf '#!/bin/sh\\necho own\\n' > own/shifter; chmod 755 own/shifter
      PATH=$HOME/own:$PATH command srun --quiet --mpi=none --image=debian shifter`;
    expect(await lines(script)).toEqual(['own']);
  });
});

it('shifterimg is for images', async () => {
  const script = `shifterimg images | grep -c debian; shifterimg lookup debian | grep -c sha256; shifterimg nonsense 2>/dev/null || echo $?`;
  expect(await lines(script)).toEqual(['1', '1', '2']);
});
