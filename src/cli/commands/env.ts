import { nearest } from '../../config/index.js';
import { usage } from '../arguments.js';
import { json, type Call, type Command } from '../command.js';
import { readDefinition } from '../environment/definition.js';
import { definitionHere, faultsOf, loadDefinition, optionsOf } from '../environment/merge.js';
import { findDefinition, namesIn, readDefinitionFile, searchPath } from '../environment/search.js';
import { formatDefinition } from '../environment/toml.js';
import { jsonText, plain, table } from '../terminal.js';

const ACTIONS = ['render', 'validate', 'list'];

export const env: Command = {
  name: 'env',
  summary: 'show, check and list container definition files',
  synopsis: ['env render [--json] FILE|NAME', 'env validate [--json] FILE|NAME', 'env list [--json]'],
  description: [
    'A container definition file says in TOML what image a container has, what is mounted in it, and the rest: srun ' +
      '--environment takes it instead of options. Files that work with the container engine of CSCS work here.',
    'render prints what a definition means here: with those that it builds on (base_environment), and with the values of ' +
      'variables, ${NAME}. validate says everything that is wrong with a file, and with those that it builds on. list shows ' +
      'the definitions that are found by name: in $EDF_PATH, or ~/.edf, and in /etc/berth/environments.',
  ],
  options: [json, { name: 'for-plugin', description: "With render: as srun's plugin reads it, in lines NAME=VALUE." }],
  operands: ['render|validate|list', '[FILE|NAME]'],
  examples: [
    { command: 'berth env validate ./pytorch.toml', text: 'Before a job is submitted with it.' },
    { command: 'berth env render pytorch', text: 'What does --environment=pytorch stand for?' },
  ],
  exitStatus: [
    { status: 2, text: 'A file, the command line or the configuration is wrong.' },
    { status: 3, text: 'There is no such file.' },
  ],
  run: (call) => {
    const [action = '', name] = call.operands;
    if (action === 'list') return Promise.resolve(list(call));
    if (!ACTIONS.includes(action)) {
      const near = nearest(action, ACTIONS);
      const why = near ? `did you mean berth env ${near}?` : 'it can render, validate and list';
      return Promise.reject(usage(`berth env cannot ${action}`, why, 'env'));
    }
    if (name === undefined)
      return Promise.reject(usage(`berth env ${action} needs a file`, 'FILE or NAME is missing', 'env'));
    return Promise.resolve(action === 'render' ? render(call, name) : validate(call, name));
  },
};

function render({ flag, terminal }: Call, name: string): number {
  const definition = definitionHere(name);
  const options = optionsOf(definition);
  if (flag('for-plugin')) {
    for (const option of options) terminal.print(option.value === '' ? option.name : `${option.name}=${option.value}`);
  } else if (flag('json')) {
    terminal.print(jsonText({ ...definition, base: undefined }, 2));
  } else {
    terminal.print(plainLines(formatDefinition(definition)));
  }
  return 0;
}

function validate({ flag, terminal }: Call, name: string): number {
  const file = findDefinition(name, process.cwd(), process.env);
  const { problems } = readDefinition(file, readDefinitionFile(file));
  // What is wrong with the files themselves comes first: what they lead to makes no sense before that is mended.
  const faults =
    problems.length > 0
      ? []
      : faultsOf(loadDefinition(name, process.cwd(), process.env), process.env).map(({ what, why }) => ({ what, why }));
  if (flag('json')) terminal.print(jsonText({ file, problems: [...problems, ...faults] }, 2));
  else {
    for (const { line, what, why } of problems) terminal.print(plain(`${file}:${line}: ${what}: ${why}`));
    for (const { what, why } of faults) terminal.print(plain(`${file}: ${what}: ${why}`));
    if (problems.length + faults.length === 0) terminal.print(`${plain(file)} is right`);
  }
  return problems.length + faults.length > 0 ? 2 : 0;
}

function list({ flag, terminal }: Call): number {
  const seen = new Set<string>();
  const found = searchPath(process.env).flatMap((directory) =>
    namesIn(directory)
      .filter((name) => !seen.has(name) && seen.add(name))
      .map((name) => ({ name, ...summary(`${directory}/${name}.toml`) })),
  );
  if (flag('json')) {
    terminal.print(jsonText(found, 2));
    return 0;
  }
  const columns = ['NAME', 'IMAGE', 'FILE', 'DESCRIPTION'].map((title) => ({ title }));
  const rows = found.map(({ name, image, file, description }) => [name, image, file, description]);
  terminal.print(table(columns, rows, terminal));
  return 0;
}

function summary(file: string): { file: string; image: string; description: string } {
  try {
    const { image = '', description = '' } = loadDefinition(file, '/', process.env);
    return { file, image, description };
  } catch {
    return { file, image: '', description: '(it is wrong: berth env validate says why)' };
  }
}

/** Lines, with nothing in them that could steer a terminal. */
function plainLines(text: string): string {
  return text.split('\n').map(plain).join('\n');
}
