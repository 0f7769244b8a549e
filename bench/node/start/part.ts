/** What starting berthd takes, by itself and by the first launch that connects to its socket. */
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { artifacts } from '../../../test/cluster/layout.js';
import { daemonOf, NODE, untilContainers } from '../../berthd.js';
import { startTime } from '../../daemon-cost.js';
import { timed } from '../../program.js';
import type { Part, Prepared, Values, Variant } from '../../parts/part.js';
import { compared, spreadOf } from '../../parts/samples.js';
import type { Stage } from '../../parts/stage.js';
import { atMost } from '../../target.js';
import { everythingFile } from '../everything.js';

const PROGRAM = 'program';
const LAUNCH = 'launch';
const NODE_JS = 'node';
const RUNNING = 'running';

const activator = fileURLToPath(new URL('activate.pl', import.meta.url));

const PROBE = ['date', '+%s%N'] as const;

export const startPart: Part = {
  name: 'start',
  subject: 'starting berthd, by itself and by the first launch',
  heading: 'Starting berthd',
  columns: [
    { title: 'wall ms', value: 'wall', digits: 1 },
    { title: '× Node.js', value: 'wall', digits: 2, against: NODE_JS, as: 'ratio' },
    { title: 'more than when berthd runs ms', value: 'wall', digits: 1, against: RUNNING, as: 'difference' },
  ],
  rounds: 16,
  prepare,
  targets: (samples) => [
    atMost('berthd starts', 200, 'ms', spreadOf(samples, PROGRAM, 'berthd', 'wall')),
    atMost(
      'a first launch that starts berthd takes longer by',
      200,
      'ms',
      compared(samples, LAUNCH, 'first', RUNNING, 'wall', 'difference'),
    ),
    atMost('a first launch that starts berthd, all of srun', 200, 'ms', spreadOf(samples, LAUNCH, 'first', 'wall')),
  ],
};

async function prepare(stage: Stage): Promise<Prepared> {
  const { cluster } = stage;
  const berthd = new Berthd(stage);
  const shell = await stage.shell('start');
  stage.afterPart(() => berthd.run());
  const launch = async (): Promise<Values> => {
    const { wall } = await shell.time(['srun', '--nodes=1', '--ntasks=1', stage.image, ...PROBE], 1);
    return { wall };
  };
  const config = ['--config', everythingFile(cluster)];
  const variants: Variant[] = [
    {
      group: PROGRAM,
      id: NODE_JS,
      title: 'node -e 0, until it has ended',
      measure: async () => ({
        wall: await timed(async () => {
          await once(await cluster.spawn(NODE, [process.execPath, '-e', '0'], { stdio: 'ignore' }), 'exit');
        }),
      }),
    },
    {
      group: PROGRAM,
      id: 'berthd',
      title: 'berthd, until it accepts connections',
      before: () => berthd.stop(),
      measure: async () => ({ wall: await startTime(cluster, config) }),
    },
    { group: LAUNCH, id: RUNNING, title: 'cold job, berthd runs', before: () => berthd.run(), measure: launch },
    {
      group: LAUNCH,
      id: 'first',
      title: 'cold job, berthd is started by its socket',
      before: () => berthd.waitForConnection(config),
      measure: launch,
    },
  ];
  return { variants, notes: [] };
}

/** The compute node's berthd: running, stopped, or to be started by whoever connects to its socket. */
class Berthd {
  #activated: ChildProcess | undefined;
  #runs = true;

  constructor(private readonly stage: Stage) {}

  async run(): Promise<void> {
    if (this.#runs) return;
    await this.stop();
    const { cluster } = this.stage;
    await cluster.startDaemon(NODE, { config: everythingFile(cluster) });
    this.#runs = true;
  }

  async stop(): Promise<void> {
    const { cluster } = this.stage;
    const child = this.#activated;
    // The epilog of the last job would connect to the next one's socket.
    const pid = this.#runs ? await daemonOf(cluster) : child?.pid;
    if (pid !== undefined) await untilContainers(pid, 0);
    if (this.#runs) await cluster.stopDaemon(NODE);
    this.#runs = false;
    this.#activated = undefined;
    if (child?.exitCode !== null || child.signalCode !== null) return;
    const ended = once(child, 'exit');
    child.kill('SIGTERM');
    await ended;
  }

  async waitForConnection(args: readonly string[]): Promise<void> {
    await this.stop();
    const program = [process.execPath, artifacts.daemon, ...args];
    const command = ['perl', activator, '/run/berth/berthd.sock', ...program];
    const child = await this.stage.cluster.spawn(NODE, command, {
      env: { SLURM_CONF: '/etc/slurm/slurm.conf' },
      stdio: ['ignore', 'pipe', 'ignore'],
    });
    this.#activated = child;
    if (child.stdout === null) throw new Error('The activator was started without a pipe.');
    const lines = createInterface({ input: child.stdout });
    const [line] = (await Promise.race([once(lines, 'line'), once(child, 'exit')])) as [unknown];
    if (line !== 'ready') throw new Error("berthd's socket could not be made.");
  }
}
