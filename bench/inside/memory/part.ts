/** Reading another rank's memory: ranks of sibling user namespaces could not, and would copy twice. */
import { atLeast } from '../../target.js';
import type { Part, Prepared, Variant } from '../../parts/part.js';
import { compileProgram } from '../programs.js';
import { compared } from '../../parts/samples.js';
import type { Stage } from '../../parts/stage.js';

/** KiB of a read. */
const SIZES = [64, 256, 1024, 4096] as const;
const OUTSIDE = 'outside';
const INSIDE = 'inside';

export const memoryPart: Part = {
  name: 'memory',
  subject: "reading another rank's memory (process_vm_readv), as MPI does",
  heading: "Reading another rank's memory",
  columns: [
    { title: 'GiB per second', value: 'rate', digits: 2 },
    { title: '× outside', value: 'rate', digits: 3, against: OUTSIDE, as: 'ratio' },
  ],
  rounds: 16,
  prepare,
  targets: (samples) =>
    SIZES.map((size) =>
      atLeast(
        `CMA, ${size} KiB, inside over outside`,
        0.98,
        '×',
        compared(samples, String(size), INSIDE, OUTSIDE, 'rate', 'ratio'),
      ),
    ),
};

async function prepare(stage: Stage): Promise<Prepared> {
  const program = await compileProgram(stage, 'memory/read-peer.c', 'read-peer');
  const shell = await stage.shell('memory', [stage.image]);
  const variant = (size: number, id: string, options: readonly string[]): Variant => ({
    group: String(size),
    id,
    title: `${size} KiB, ${id}`,
    measure: async () => {
      // One that fails is not to leave the other waiting.
      const srun = ['srun', '--overlap', '--kill-on-bad-exit=1', '--ntasks=2', ...options];
      const { output } = await shell.run([...srun, program, stage.home, String(size * 1024)]);
      return { rate: Number(output) / 1024 };
    },
  });
  const variants = SIZES.flatMap((size) => [variant(size, OUTSIDE, ['--image=none']), variant(size, INSIDE, [])]);
  return { variants, notes: [] };
}
