/** What readers of the event stream cost launches. */
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { processorsPerNode } from '../../../test/cluster/slurm-configuration.js';
import { daemonOf, NODE, untilContainers } from '../../berthd.js';
import { memoryOf, processorTime } from '../../daemon-cost.js';
import type { Part, Prepared, Values, Variant } from '../../parts/part.js';
import type { Stage } from '../../parts/stage.js';

const READERS = 1000;
const NOBODY = 'nobody';

const tsx = import.meta.resolve('tsx');
const program = fileURLToPath(new URL('read.ts', import.meta.url));

const PROBE = ['date', '+%s%N'] as const;

export const readersPart: Part = {
  name: 'readers',
  subject: `launches beside ${READERS} readers of the event stream, half of them stuck`,
  heading: 'Launches beside readers of the event stream',
  columns: [
    { title: 'wall ms', value: 'wall', digits: 1 },
    { title: '× without readers', value: 'wall', digits: 3, against: NOBODY, as: 'ratio' },
    { title: 'berthd’s processor ms', value: 'processor', digits: 1 },
    { title: 'private MiB', value: 'memory', digits: 1 },
  ],
  rounds: 16,
  prepare,
  targets: () => [],
};

async function prepare(stage: Stage): Promise<Prepared> {
  const { cluster } = stage;
  const readers = new Readers(stage);
  stage.afterPart(() => readers.end());
  const berthd = await daemonOf(cluster);
  const warm = await stage.shell('warm', [stage.image]);
  const cold = await stage.shell('cold');
  const variant = (group: string, id: string, title: string, ranks: number): Variant => ({
    group,
    id,
    title,
    before: async () => {
      await (id === NOBODY ? readers.end() : readers.begin());
      // That of the allocation stays.
      await untilContainers(berthd, 1);
    },
    measure: async (): Promise<Values> => {
      const own = ranks === 1 ? [stage.image] : [];
      const command = ['srun', `--ntasks=${ranks}`, '--nodes=1', ...own, ...PROBE];
      const before = await processorTime(berthd);
      const { wall } = await (ranks === 1 ? cold : warm).time(command, ranks);
      const processor = (await processorTime(berthd)) - before;
      return { wall, processor, memory: (await memoryOf(berthd)).privateMemory };
    },
  });
  const beside = `beside ${READERS} readers, half of them stuck`;
  const many = `warm step, ${processorsPerNode} ranks`;
  return {
    variants: [
      variant('cold', NOBODY, 'cold job, 1 rank', 1),
      variant('cold', 'readers', `… ${beside}`, 1),
      variant('warm', NOBODY, many, processorsPerNode),
      variant('warm', 'readers', `… ${beside}`, processorsPerNode),
    ],
    notes: [],
  };
}

/** A program on the node that reads the stream many times. */
class Readers {
  #program: ChildProcess | undefined;

  constructor(private readonly stage: Stage) {}

  async begin(): Promise<void> {
    if (this.#program) return;
    const command = [process.execPath, '--import', tsx, program, '/run/berth/berthd.sock', String(READERS)];
    const child = await this.stage.cluster.spawn(NODE, command, { stdio: ['ignore', 'pipe', 'inherit'] });
    this.#program = child;
    if (child.stdout === null) throw new Error('The readers were started without a pipe.');
    const [line] = (await Promise.race([
      once(createInterface({ input: child.stdout }), 'line'),
      once(child, 'exit'),
    ])) as [unknown];
    if (line !== 'ready') throw new Error('The readers of the event stream could not connect.');
  }

  async end(): Promise<void> {
    const child = this.#program;
    this.#program = undefined;
    if (child?.exitCode !== null || child.signalCode !== null) return;
    const ended = once(child, 'exit');
    child.kill('SIGKILL');
    await ended;
  }
}
