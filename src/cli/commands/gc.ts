import type { v1 } from '../../protocol/index.js';
import { usage } from '../arguments.js';
import { Connection } from '../client.js';
import { json, type Command } from '../command.js';
import { jsonText, size, table, type Terminal } from '../terminal.js';

export const gc: Command = {
  name: 'gc',
  summary: 'remove what nobody needs from the store, as root',
  synopsis: ['gc [--dry-run] [--layer-cache MIB] [--json]'],
  description: [
    'Removes images that have no name, that no job runs on any node, and that no job was submitted with in the last [store] ' +
      'promise_days; converted layers beyond [store] layer_cache, those first that were not used for longest; and what pulls ' +
      'and imports that died have left. Images younger than an hour stay.',
    'It may run on any node, on several at once, and while others pull and launch: an image that somebody comes to need in ' +
      'that moment is put back. On a file system of the network, an image goes in two steps, by two runs at least ten ' +
      'minutes apart.',
  ],
  options: [
    { name: 'dry-run', letter: 'n', description: 'Remove nothing; show what would go.' },
    {
      name: 'layer-cache',
      value: 'MIB',
      description: 'How much of the layer cache may stay, instead of [store] layer_cache.',
    },
    json,
  ],
  operands: [],
  examples: [
    { command: 'berth gc --dry-run', text: 'What would go, and what stays although it has no name, and why.' },
    { command: 'berth gc', text: 'Best once a night, by a timer on one node.' },
  ],
  exitStatus: [
    { status: 4, text: 'You are not root.' },
    { status: 6, text: 'The store cannot be used, or a name in it cannot be read.' },
  ],
  run: async ({ flag, value, socket, terminal }) => {
    const given = value('layer-cache');
    if (given !== undefined && !/^[1-9]\d{0,8}$/.test(given))
      throw usage(`--layer-cache was given ${given}`, 'it takes a number of MiB, at least 1', 'gc');
    const dryRun = flag('dry-run');
    // Without a limit: the store may be large.
    const connection = await Connection.open(socket);
    try {
      connection.send({ collect: { dryRun, layerCacheLimit: Number(given ?? 0) } });
      const entries = ((await connection.reply()).collect?.entries ?? []).map(entryView);
      if (flag('json')) terminal.print(jsonText({ dryRun, entries }, 2));
      else show(entries, dryRun, terminal);
      return 0;
    } finally {
      connection.close();
    }
  },
};

type Entry = ReturnType<typeof entryView>;

/** What was collected, or, with `keptFor`, was not. */
function entryView({ what, name, size: bytes, keptFor }: v1.Collected.$Properties) {
  return { what: what ?? '', name: name ?? '', size: Number(bytes ?? 0), ...(keptFor ? { keptFor } : {}) };
}

function show(entries: readonly Entry[], dryRun: boolean, terminal: Terminal): void {
  const columns = [{ title: 'WHAT' }, { title: 'NAME' }, { title: 'SIZE', right: true }, { title: '' }];
  const rows = entries.map(({ what, name, size: bytes, keptFor }) => [
    what,
    name.replace(/^sha256:/, '').slice(0, 40),
    size(bytes),
    keptFor === undefined ? '' : `stays: ${keptFor}`,
  ]);
  if (rows.length > 0) terminal.print(table(columns, rows, terminal));
  const gone = entries.filter(({ keptFor }) => keptFor === undefined);
  const bytes = gone.reduce((sum, entry) => sum + entry.size, 0);
  const things = gone.length === 1 ? '1 thing' : `${gone.length} things`;
  terminal.print(
    gone.length === 0 ? 'nothing to remove' : `${things} ${dryRun ? 'would go' : 'removed'}, ${size(bytes)}`,
  );
}
