import { commands } from '../../../src/cli/commands/index.js';
import { commandManual, overviewManual } from '../../../src/cli/help.js';
import { allKeys } from '../../../src/config/index.js';
import { daemonManual } from '../../../src/daemon/manual.js';
import type { Entry, ManualPage } from '../../../src/manual/index.js';
import { pluginOptions, shifterOptions } from './options.js';
import { fromMarkdown, roff } from './roff.js';

/** A page for man(1). */
export interface Page {
  /** As "berth-pull.1". */
  readonly file: string;
  readonly page: ManualPage;
}

const FILES: readonly Entry[] = [
  { term: '/etc/berth/berth.toml', text: 'The configuration, berth.toml(5).' },
  { term: '/etc/berth/modules.d', text: "The site's modules." },
  { term: '/run/berth', text: "berthd's socket, and the pins of containers." },
  { term: '/var/lib/berth', text: 'The image store.' },
  { term: '/usr/share/doc/berth/docs', text: 'The documentation, which messages name as docs/errors.md and the like.' },
];

/** Every manual page. */
export function manualPages(root: string): Page[] {
  const commandFiles = commands.map(({ name }) => `berth-${name}(1)`);
  return [
    {
      file: 'berth.1',
      page: withSections(overviewManual(commands), [
        { title: 'FILES', entries: FILES },
        see(...commandFiles, 'berthd(8)', 'berth.toml(5)', 'spank_berth(8)', 'srun(1)'),
      ]),
    },
    ...commands.map((command) => ({
      file: `berth-${command.name}.1`,
      page: withSections(commandManual(command), [see('berth(1)')]),
    })),
    {
      file: 'berthd.8',
      page: withSections(daemonManual, [
        { title: 'FILES', entries: FILES },
        see('berth(1)', 'berth.toml(5)', 'berth-healthcheck(8)', 'spank_berth(8)', 'systemd.service(5)'),
      ]),
    },
    { file: 'berth-healthcheck.8', page: healthCheckManual },
    { file: 'berth.toml.5', page: configurationManual() },
    { file: 'spank_berth.8', page: pluginManual(root) },
    { file: 'shifter.1', page: shifterManual(root) },
  ];
}

/** Every manual page in the language of man(7), by file name. */
export function renderedPages(root: string, version: string, date: string): Map<string, string> {
  return new Map(
    manualPages(root).map(({ file, page }) => [file, roff(page, { section: Number(file.slice(-1)), version, date })]),
  );
}

function withSections(page: ManualPage, sections: ManualPage['sections']): ManualPage {
  return { ...page, sections: [...page.sections, ...sections] };
}

function see(...pages: readonly string[]): ManualPage['sections'][number] {
  return { title: 'SEE ALSO', entries: [pages.join(', ')] };
}

const healthCheckManual: ManualPage = {
  name: 'berth-healthcheck',
  summary: "Slurm's HealthCheckProgram: asks berthd for the node's health",
  synopsis: ['/usr/lib/berth/berth-healthcheck'],
  sections: [
    {
      title: 'DESCRIPTION',
      entries: [
        'Is berth health --slurm under a name of its own, as Slurm gives its HealthCheckProgram no arguments. Its findings come ' +
          "into slurmd's log. Where [health] drain of berth.toml(5) is on, the node may be drained because of them, and resumed.",
        'That berthd does not answer is a finding as well.',
      ],
    },
    {
      title: 'EXAMPLES',
      entries: [
        { term: 'HealthCheckProgram=/usr/lib/berth/berth-healthcheck', text: 'In slurm.conf, with these:' },
        { term: 'HealthCheckInterval=300', text: 'Every five minutes.' },
        { term: 'HealthCheckNodeState=ANY,CYCLE', text: 'On all nodes, not on all of them at once.' },
      ],
    },
    {
      title: 'EXIT STATUS',
      entries: [
        { term: '0', text: 'All is well.' },
        { term: '1', text: 'A warning, or something could not be found out.' },
        { term: '2', text: 'A check failed, or berthd does not answer.' },
      ],
      beside: 4,
    },
    see('berth-health(1)', 'berth.toml(5)', 'slurm.conf(5)'),
  ],
};

function shifterManual(root: string): ManualPage {
  return {
    name: 'shifter',
    summary: "berth run with Shifter's options, for job scripts that were written for it",
    synopsis: ['shifter [OPTIONS] [--] [COMMAND [ARGUMENT...]]', 'shifterimg pull|images|lookup [IMAGE]'],
    sections: [
      {
        title: 'DESCRIPTION',
        entries: [
          'shifter runs a command in a container. What it is not told, it takes from the options of the job. In a container it ' +
            'starts the command where it is.',
          'shifterimg pull, images and lookup are berth pull, images and inspect.',
        ],
      },
      { title: 'OPTIONS', entries: shifterOptions(root) },
      {
        title: 'ENVIRONMENT',
        entries: [{ term: 'SHIFTER_IMAGE', text: 'The image, where neither --image nor the job says which.' }],
      },
      see('berth-run(1)', 'berth-pull(1)', 'spank_berth(8)'),
    ],
  };
}

function configurationManual(): ManualPage {
  const tables = [...new Set(allKeys.map(({ table }) => table))];
  return {
    name: 'berth.toml',
    summary: 'the configuration of berthd',
    synopsis: ['/etc/berth/berth.toml'],
    sections: [
      {
        title: 'DESCRIPTION',
        entries: [
          'berthd reads this file when it starts. It is TOML; every key has a default, and without a file all of them apply. It ' +
            'must belong to root and be writable by root alone. An unknown table or key, a wrong type or a value out of bounds ' +
            'stops berthd from starting, with file, line and what was expected.',
          'berth config check tests a file, and berth config show shows what is in force.',
        ],
      },
      ...tables.map((table) => ({
        title: `[${table}]`,
        entries: allKeys
          .filter((key) => key.table === table)
          .map(({ name, kind }) => ({
            term: `${name} = ${kind.show(kind.default)}`,
            text: `${fromMarkdown(kind.description)} Takes ${kind.expected}.`,
          })),
      })),
      see('berthd(8)', 'berth-config(1)'),
    ],
  };
}

/** What a site may write after the plugin's path in plugstack.conf. */
export const pluginArguments: readonly { readonly term: string; readonly text: string }[] = [
  { term: 'socket=PATH', text: "berthd's socket; /run/berth/berthd.sock unless given." },
  {
    term: 'wait=SECONDS',
    text: 'How long a rank tries to reach a berthd that does not answer, as during an upgrade; 5 unless given.',
  },
  {
    term: 'timeout=SECONDS',
    text: 'How long a rank waits for its container, not counting a pull; 120 unless given.',
  },
  {
    term: 'pull=yes|no',
    text: 'Whether srun, salloc and sbatch pull an image that the store has not; yes unless given.',
  },
  { term: 'command=PATH', text: 'The command that they do it with; /usr/bin/berth unless given.' },
  {
    term: 'contain=batch,interactive',
    text: 'Which of these steps of a job run in the container too; neither unless given.',
  },
];

function pluginManual(root: string): ManualPage {
  return {
    name: 'spank_berth',
    summary: "Slurm's plugin for Berth, and the options that it gives srun",
    synopsis: [
      'required PLUGINDIR/spank_berth.so [ARGUMENT...]',
      'required PLUGINDIR/spank_berth_prolog.so [ARGUMENT...]',
      'srun --image=REF [OPTION...] PROGRAM...',
    ],
    sections: [
      {
        title: 'DESCRIPTION',
        entries: [
          'The first two lines are for plugstack.conf, spank(8). The plugin has to be there on nodes and submit hosts. Required, ' +
            'it fails a rank that cannot be put into its container; optional, it would let it run outside. A plugin is built for ' +
            'one major release of Slurm, and slurmd does not start with one of another.',
          'spank_berth_prolog.so has berthd prepare the container of a job before its first step, where [slurm] prepare of ' +
            'berth.toml(5) is true and slurm.conf has PrologFlags=Alloc. It takes the same arguments.',
        ],
      },
      { title: 'ARGUMENTS', entries: pluginArguments },
      {
        title: 'OPTIONS',
        entries: pluginOptions(root).map(({ name, value, help }) => ({
          term: `--${name}${value === undefined ? '' : value.startsWith('[') ? `[=${value.slice(1, -1)}]` : `=${value}`}`,
          text: `${help.charAt(0).toUpperCase()}${help.slice(1)}.`,
        })),
      },
      see('berth(1)', 'berthd(8)', 'berth.toml(5)', 'spank(8)', 'srun(1)'),
    ],
  };
}
