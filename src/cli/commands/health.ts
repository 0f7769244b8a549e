import { loadConfig } from '../../config/index.js';
import { reasonOf } from '../../errors/index.js';
import { reportDeadDaemon } from '../../health/dead.js';
import { usage } from '../arguments.js';
import type { Command } from '../command.js';

/** What `berth health` ends with when berthd does not answer. */
const FAIL = 2;

/** Its manual page, and what is left for Node: the command itself is in C (native/client), which starts in a millisecond. */
export const health: Command = {
  name: 'health',
  summary: 'check whether this node can launch containers, and is fit for jobs',
  synopsis: ['health [--all] [--max-age SECONDS]', 'health [--json | --nagios | --prometheus] [--max-age SECONDS]'],
  description: [
    'Asks berthd to look at the node: Berth itself, the kernel, the image store, a container launched for a try, file ' +
      'systems, what Slurm relies on, and hardware. Shows a line for each finding, with a hint. docs/health.md has every check.',
    'That berthd does not answer is a finding like others. Nothing is checked unless somebody asks; results up to the ' +
      'given age are taken from the last time. Called as berth-healthcheck, it is what Slurm runs as HealthCheckProgram.',
  ],
  options: [
    { name: 'all', letter: 'a', description: 'Show what passed, too.' },
    {
      name: 'max-age',
      letter: 'm',
      value: 'SECONDS',
      description: 'Take results up to this age: 10 unless given, 30 with --slurm; a plain user always takes up to 60.',
    },
    { name: 'json', description: 'Write JSON for programs: the version of its layout, and all checks.' },
    { name: 'nagios', description: "Write one line as Nagios' plugins do; unknown is exit status 3 then." },
    { name: 'prometheus', description: "Write metrics, for node_exporter's textfile collector." },
    {
      name: 'slurm',
      description:
        'Slurm asks: where [health] drain is on, the node may be drained or resumed because of what is found. Root only: others are told that it is ignored.',
    },
    {
      name: 'daemon-dead',
      internal: true,
      description:
        'Used by the command itself when Slurm asks and berthd does not answer: only tells Slurm, by the same rules.',
    },
  ],
  operands: [],
  examples: [
    { command: 'berth health --all', text: 'Everything, with what was read.' },
    {
      command: 'srun -N64 --label berth health',
      text: 'What is wrong on each of 64 nodes, by their number in the job.',
    },
    {
      command: 'berth health --json | jq ".checks[] | select(.status != \\"pass\\")"',
      text: 'Findings for a program.',
    },
  ],
  exitStatus: [
    { status: 1, text: 'A warning, or something could not be found out; nothing failed.' },
    { status: 2, text: 'A check failed, berthd does not answer, or the command line is wrong.' },
    {
      status: 3,
      text: 'With --nagios: something could not be found out and nothing is worse, or the command line is wrong.',
    },
  ],
  noUsualStatus: true,
  run: async ({ flag, terminal }) => {
    if (!flag('daemon-dead'))
      throw usage('berth health must be the first words', 'options come after health', 'health');
    try {
      const { config } = await loadConfig();
      const done = await reportDeadDaemon(config, process.env['SLURMD_NODENAME'] ?? '');
      if (done !== undefined) terminal.print(done);
    } catch (error) {
      terminal.warn(`berth: Slurm could not be told: ${reasonOf(error)}`);
    }
    return FAIL;
  },
};
