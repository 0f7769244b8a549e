import { join } from 'node:path';
import { beforeAll, describe, expect, it } from 'vitest';
import { EXPORT_MPI_NETWORK } from '../cluster/mpi.js';
import { compile, compileMpi } from '../images/programs.js';
import { configurations, Site } from './site.js';

const NODES = 3;

let site: Site;
beforeAll(async () => {
  site = await Site.start({ nodes: NODES, prepare: compilePrograms });
  return () => site.stop();
});

async function compilePrograms({ cluster }: Site): Promise<void> {
  const home = join(cluster.layout.home, 'alice');
  await Promise.all([
    compileMpi('exchange', 'mpich', join(home, 'exchange.mpich')),
    compileMpi('exchange', 'openmpi', join(home, 'exchange.openmpi')),
    compile('peek', join(home, 'peek')),
  ]);
}

describe.each(configurations(NODES))('with userns = $userns', (configuration) => {
  const lines = (script: string): Promise<string[]> => site.lines(configuration, script);

  describe.each([
    { mpi: 'mpich', slurm: 'pmi2' },
    { mpi: 'openmpi', slurm: 'pmix' },
  ])('$mpi programs started with --mpi=$slurm', ({ mpi, slurm }) => {
    const srun = `srun --quiet --image=debian --mpi=${slurm}`;

    it('reach each other within a node and over two and three', async () => {
      const seen = await lines(`
        ${srun} -N1 -n2 ./exchange.${mpi}
        ${EXPORT_MPI_NETWORK}
        ${srun} -N2 -n4 ./exchange.${mpi}
        ${srun} -N3 -n5 ./exchange.${mpi}`);
      expect(seen).toEqual(['2 ranks: sum 3, ring 1', '4 ranks: sum 10, ring 3', '5 ranks: sum 15, ring 4']);
    });

    it('work in a container that a step without MPI has left, step after step, and beside each other', async () => {
      const seen = await lines(`
        ${EXPORT_MPI_NETWORK}
        salloc --quiet -N2 --image=debian bash -c '
          srun --mpi=none -n2 cat /image
          srun --mpi=${slurm} -n2 ./exchange.${mpi}
          srun --mpi=${slurm} --overlap -n2 ./exchange.${mpi} & srun --mpi=${slurm} --overlap -n2 ./exchange.${mpi} & wait
        '`);
      expect(seen).toEqual(['debian', 'debian', ...Array<string>(3).fill('2 ranks: sum 3, ring 1')]);
    });
  });

  it("ranks of a node read each other's memory with process_vm_readv", async () => {
    const seen = await lines('mkdir -p meeting; rm -f meeting/*; srun --quiet --image=debian -n2 ./peek meeting');
    expect(seen).toEqual(['what rank 0 knows']);
  });
});
