/** What being looked at costs a node: Slurm's health check with results at hand, all checks, and a scrape of metrics. */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { artifacts } from '../../../test/cluster/layout.js';
import { daemonOf, isObject, NODE } from '../../berthd.js';
import { processorTime } from '../../daemon-cost.js';
import { mustExec } from '../../execute.js';
import type { Part, Prepared, Values, Variant } from '../../parts/part.js';
import { compared, spreadOf } from '../../parts/samples.js';
import type { Stage } from '../../parts/stage.js';
import { atMost } from '../../target.js';

const CLIENT = 'client';
const CHECKS = 'checks';
const SCRAPE = 'scrape';
const TRUE = 'true';

/** How often a client is run for one sample. */
const CLIENTS = 50;

/** How often all checks are done for one sample: the kernel tells of ended children in ticks of 10 ms. */
const SETS = 10;

/** How often metrics are read for one sample. */
const SCRAPES = 10;

/** Milliseconds of a tick of proc_pid_stat(5): USER_HZ is 100 everywhere. */
const TICK = 10;

export const healthPart: Part = {
  name: 'health',
  subject: "the health check's client, all checks, and a scrape of metrics",
  heading: 'Health checks and metrics',
  columns: [
    { title: 'wall ms', value: 'wall', digits: 2 },
    { title: 'more than /bin/true ms', value: 'wall', digits: 2, against: TRUE, as: 'difference' },
    { title: 'processor ms', value: 'processor', digits: 1 },
  ],
  rounds: 8,
  prepare,
  targets: (samples) => [
    atMost(
      'the health client with cached results',
      5,
      'ms',
      compared(samples, CLIENT, 'cached', TRUE, 'wall', 'difference'),
    ),
    atMost('all checks', 1000, 'ms', spreadOf(samples, CHECKS, 'all', 'wall')),
    atMost('all checks, processor time', 50, 'ms', spreadOf(samples, CHECKS, 'all', 'processor')),
  ],
};

async function prepare(stage: Stage): Promise<Prepared> {
  const { cluster } = stage;
  const berthd = await daemonOf(cluster);
  const client = join(artifacts.programs, 'berth-healthcheck');
  // As Slurm runs it: results may be half a minute old.
  const cached = ['env', 'SLURMD_NODENAME=n1', client, '--slurm'];
  const repeated = (times: number, argv: readonly string[]): Promise<number> => repeatedly(stage, times, argv);
  const all = [client, '--max-age', '0'];
  const checkAll = async (): Promise<Values> => {
    const before = await processorsOf(berthd);
    const wall = await repeated(SETS, all);
    return { wall, processor: ((await processorsOf(berthd)) - before) / SETS };
  };
  const scrape = async (): Promise<Values> => {
    const before = await processorTime(berthd);
    await repeated(SCRAPES, [join(artifacts.programs, 'berth'), 'metrics']);
    return { processor: ((await processorTime(berthd)) - before) / SCRAPES };
  };
  const variants: Variant[] = [
    {
      group: CLIENT,
      id: TRUE,
      title: '/bin/true',
      measure: async () => ({ wall: await repeated(CLIENTS, ['env', 'SLURMD_NODENAME=n1', '/bin/true']) }),
    },
    {
      group: CLIENT,
      id: 'cached',
      title: 'berth-healthcheck, results at hand',
      before: async () => {
        await repeated(1, all);
      },
      measure: async () => ({ wall: await repeated(CLIENTS, cached) }),
    },
    { group: CHECKS, id: 'all', title: 'berth health --max-age 0, all checks', measure: checkAll },
    { group: SCRAPE, id: 'metrics', title: "berth metrics, berthd's part", measure: scrape },
  ];
  const output = await mustExec(cluster, NODE, ['sh', '-c', '"$0" --json --max-age 0 || true', client]);
  const found: unknown = JSON.parse(output);
  const checks = isObject(found) && Array.isArray(found['checks']) ? found['checks'].filter(isObject) : [];
  const passed = checks.filter(({ status }) => status === 'pass').length;
  return { variants, notes: [`Health: ${checks.length} checks, of which ${passed} passed.`] };
}

/** Milliseconds that a command takes in the node, one after the other, whatever it finds. */
async function repeatedly({ cluster }: Stage, times: number, argv: readonly string[]): Promise<number> {
  const script = `
    begin=$EPOCHREALTIME
    for ((i = 0; i < ${times}; i++)); do "$@" >/dev/null 2>&1; done
    end=$EPOCHREALTIME
    echo $(((\${end/./} - \${begin/./})))`;
  const microseconds = await mustExec(cluster, NODE, ['bash', '-c', script, 'bash', ...argv]);
  return Number(microseconds) / 1000 / times;
}

/** Milliseconds of processor time of berthd and of its children that have ended (proc_pid_stat(5): cutime, cstime). */
async function processorsOf(pid: number): Promise<number> {
  const stat = await readFile(`/proc/${pid}/stat`, 'utf8');
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  const [cutime, cstime] = fields.slice(13, 15).map(Number);
  return (await processorTime(pid)) + ((cutime ?? Number.NaN) + (cstime ?? Number.NaN)) * TICK;
}
