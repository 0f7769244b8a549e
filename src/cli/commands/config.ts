import { stat } from 'node:fs/promises';
import { hostname } from 'node:os';
import {
  allKeys,
  camelCase,
  checkConfig,
  DEFAULT_CONFIG_PATH,
  loadConfig,
  nearest,
  type Config,
  type Key,
  type Mount,
  type Origin,
} from '../../config/index.js';
import { errorCode, formatError } from '../../errors/index.js';
import { usage } from '../arguments.js';
import { json, type Call, type Command } from '../command.js';
import { jsonText } from '../terminal.js';

export const config: Command = {
  name: 'config',
  summary: 'check the configuration, or show what is in force',
  synopsis: ['config check [--json] [FILE]', 'config show [--json] [FILE]'],
  description: [
    `check reads FILE, or ${DEFAULT_CONFIG_PATH}, and shows everything that is wrong with it: unknown tables and keys, ` +
      'wrong types, values out of bounds. It also says which sources of [container] mounts are missing on this node, which is ' +
      'no error of the file. Run it before berthd is restarted.',
    'show prints every key with its value and where that comes from: the file and line, or the default. What it prints is ' +
      'itself a valid configuration. It reads the file; a running berthd has what the file held when it started.',
    'As root, a file that others could write to is refused, as berthd refuses it.',
  ],
  options: [json],
  operands: ['check|show', '[FILE]'],
  examples: [
    { command: 'berth config check berth.toml', text: 'Test a file before it is installed.' },
    { command: 'berth config show', text: 'What is in force, and why.' },
  ],
  run: (call) => {
    const [action = ''] = call.operands;
    if (action === 'check') return check(call);
    if (action === 'show') return show(call);
    const near = nearest(action, ['check', 'show']);
    return Promise.reject(
      usage(
        `berth config cannot ${action}`,
        near ? `did you mean berth config ${near}?` : 'it can check and show',
        'config',
      ),
    );
  },
};

async function check({ operands: [, file], flag, terminal }: Call): Promise<number> {
  const { config: values, problems } = await checkConfig(file);
  const missing = await missingSources(values.container.mounts);
  const [first] = problems;
  if (flag('json')) {
    terminal.print(
      jsonText(
        {
          problems: problems.map(({ code, what, why }) => ({ code, what, why })),
          missingMountSources: missing.map(({ source }) => source),
        },
        2,
      ),
    );
  } else if (first) {
    // The table's hint is this command.
    const hint = 'docs/configuration.md describes every key';
    terminal.warn(
      problems.map(({ code, exitStatus, what, why }) => formatError({ code, exitStatus, what, why, hint })).join('\n'),
    );
  } else {
    terminal.print(`${file ?? DEFAULT_CONFIG_PATH}: no errors`);
    for (const { source } of missing) {
      terminal.warn(
        `berth: [container] mounts: ${source} is not there on ${hostname()}. No container can be built on a node without it.`,
      );
    }
  }
  return first?.exitStatus ?? 0;
}

async function missingSources(mounts: readonly Mount[]): Promise<Mount[]> {
  const found = await Promise.all(mounts.map(({ source }) => stat(source).catch(errorCode)));
  return mounts.filter((_, i) => found[i] === 'ENOENT');
}

async function show({ operands: [, file], flag, terminal }: Call): Promise<number> {
  const { config: values, origins } = await loadConfig(file);
  const entries = allKeys.map((key) => ({
    key,
    value: valueOf(values, key),
    origin: origins.get(key.title) ?? 'default',
  }));
  if (flag('json')) {
    const tables: Record<string, Record<string, { value: unknown; origin: string }>> = {};
    for (const { key, value, origin } of entries) {
      (tables[key.table] ??= {})[key.name] = { value, origin: originText(origin) };
    }
    terminal.print(jsonText(tables, 2));
    return 0;
  }
  const lines = entries.map(({ key, value }) => `${key.name} = ${key.kind.show(value)}`);
  const width = Math.max(...lines.map((line) => line.length));
  let table = '';
  entries.forEach(({ key, origin }, i) => {
    if (key.table !== table) terminal.print(`${table === '' ? '' : '\n'}${terminal.bold(`[${key.table}]`)}`);
    table = key.table;
    terminal.print(`${(lines[i] ?? '').padEnd(width)}  ${terminal.dim(`# ${originText(origin)}`)}`);
  });
  return 0;
}

function valueOf(values: Config, key: Key): unknown {
  const table: Readonly<Record<string, Readonly<Record<string, unknown>>>> = values;
  return table[key.table]?.[camelCase(key.name)];
}

function originText(origin: Origin): string {
  return origin === 'default' ? origin : `${origin.file}:${origin.line}`;
}
