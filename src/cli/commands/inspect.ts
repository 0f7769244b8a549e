import type { v1 } from '../../protocol/index.js';
import { accountNames } from '../accounts.js';
import { ask } from '../client.js';
import { json, type Command } from '../command.js';
import { age, jsonText, plain, size, type Terminal } from '../terminal.js';
import { imageView, type ImageView } from './images.js';

export const inspect: Command = {
  name: 'inspect',
  summary: 'show all that is known of an image',
  synopsis: ['inspect [--json] IMAGE'],
  description: [
    'Shows the names and digests of an image, where it came from, who may use it, its layers, and, where it came with one, ' +
      'its configuration: the environment, working directory and labels that its maker gave it.',
    'DIGEST is that of the image file; MANIFEST that of the image in its registry. srun --image=NAME@DIGEST takes both.',
  ],
  options: [json],
  operands: ['IMAGE'],
  examples: [
    { command: 'berth inspect lammps:2024', text: 'What is this, and whose?' },
    { command: "berth inspect --json lammps:2024 | jq -r '.config.config.Env[]'", text: 'Its environment.' },
  ],
  exitStatus: [{ status: 3, text: 'There is no such image.' }],
  run: async ({ operands: [reference = ''], flag, socket, terminal }) => {
    const reply = await ask(socket, { inspect: { reference } });
    const view = inspectView(reply.inspect ?? {});
    if (flag('json')) terminal.print(jsonText(view, 2));
    else await show(view, terminal);
    return 0;
  },
};

/** What berthd knows of an image, as --json shows it. */
export interface Inspection {
  readonly image: ImageView;
  readonly names: readonly string[];
  readonly layers: readonly string[];
  /** As the OCI image specification has it; null where the image came without one. */
  readonly config: unknown;
}

export function inspectView({ image, names, layers, config }: v1.InspectReply.$Properties): Inspection {
  return {
    image: imageView(image ?? {}),
    names: names ?? [],
    layers: layers ?? [],
    config: config ? JSON.parse(config) : null,
  };
}

/** Characters of a title: the longest usual one is ExposedPorts, of an image's configuration. */
const TITLE = 12;

async function show({ image, names, layers, config }: Inspection, terminal: Terminal): Promise<void> {
  const now = Date.now() / 1000;
  const line = (title: string, text: string): void => {
    if (text !== '') terminal.print(`${terminal.bold(title.padEnd(TITLE))} ${plain(text)}`);
  };
  line('Name', image.name);
  line('Others', names.filter((name) => name !== image.name).join(', '));
  line('Digest', image.digest);
  line('Manifest', image.manifest ?? '');
  line('Platform', image.platform ?? '');
  line('Size', `${size(image.size)} (${image.format})`);
  line('Named', `${age(now - image.created)} ago`);
  line('Owner', image.owner);
  line('Users', await users(image));
  line('Source', image.source);
  const running = image.containers === 0 ? '' : `${image.containers} on this node now; `;
  line('In use', `${running}${image.used === 0 ? 'never launched' : `last launched ${age(now - image.used)} ago`}`);
  layers.forEach((layer, at) => {
    line(at === 0 ? 'Layers' : '', layer);
  });
  const settings = isObject(config) && isObject(config['config']) ? config['config'] : {};
  for (const [key, value] of Object.entries(settings)) line(key, JSON.stringify(value));
}

async function users({ access: { everyone, uids, gids } }: ImageView): Promise<string> {
  if (everyone) return 'everyone';
  const [userNames, groupNames] = await Promise.all([accountNames('passwd', uids), accountNames('group', gids)]);
  return ['its owner', ...userNames, ...groupNames.map((name) => `group ${name}`)].join(', ');
}

function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
