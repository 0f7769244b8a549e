import { loadConfig } from '../../config/index.js';
import { Modules, type Automatic, type Module } from '../../modules/index.js';
import { json, type Command } from '../command.js';
import { jsonText, table } from '../terminal.js';

export const modules: Command = {
  name: 'modules',
  summary: "list the site's modules",
  synopsis: ['modules [--json]'],
  description: [
    'Shows the modules that this host has for containers: those that are used unasked, and when, and those for ' +
      '--module=NAME. One that cannot be used is shown with the reason. berth explain shows what a module adds to a container.',
    'The nodes of a job may have others than the host where you are.',
  ],
  options: [json],
  operands: [],
  examples: [{ command: 'berth modules', text: 'What can I put after --module=?' }],
  run: async ({ flag, terminal }) => {
    const { config } = await loadConfig();
    const { entries, fault, directory } = new Modules(config.modules).catalogue();
    if (fault) throw fault;
    const listed = [...entries.values()].map(({ name, file, module, fault: wrong }) => ({
      name,
      file,
      used: config.modules.default.includes(name) ? 'always' : whenUsed(module),
      description: module?.description ?? '',
      ...(wrong ? { fault: `${wrong.what}: ${wrong.why}` } : {}),
    }));
    if (flag('json')) {
      terminal.print(jsonText({ directory, modules: listed }, 2));
      return 0;
    }
    const columns = ['NAME', 'USED', 'DESCRIPTION'].map((title) => ({ title }));
    const rows = listed.map(({ name, used, description, fault: wrong }) => [
      name,
      used,
      wrong === undefined ? description : `(cannot be used: ${wrong})`,
    ]);
    terminal.print(table(columns, rows, terminal));
    return 0;
  },
};

function whenUsed(module?: Module): string {
  const { automatic = 'never', mandatory = false } = module ?? {};
  if (automatic === 'never') return 'when asked for';
  return `${inWords(automatic)}${mandatory ? ', also with --module=none' : ''}`;
}

function inWords(automatic: Exclude<Automatic, 'never'>): string {
  if (automatic === 'always') return 'always';
  return 'path' in automatic ? `where there is ${automatic.path}` : `where the job has ${automatic.device}`;
}
