import type { v1 } from '../../protocol/index.js';
import { ask } from '../client.js';
import { json, type Command } from '../command.js';
import { age, size, table } from '../terminal.js';

export const images: Command = {
  name: 'images',
  summary: 'list the images that srun --image can name',
  synopsis: ['images [--json]'],
  description: [
    'Lists the images of the site and your own. A name of your own comes before the same name of the site. An image can ' +
      'also be named by its digest, as --json shows it in full: that one never changes.',
  ],
  options: [json],
  operands: [],
  examples: [
    { command: 'berth images', text: 'What there is.' },
    {
      command: 'berth images --json | jq -r .images[].digest',
      text: 'The digests, for a job script that is to run the same for ever.',
    },
  ],
  run: async ({ flag, socket, terminal }) => {
    const reply = await ask(socket, { images: {} });
    const found = (reply.images?.images ?? []).map(imageView);
    if (flag('json')) {
      terminal.print(JSON.stringify({ images: found }, undefined, 2));
      return 0;
    }
    const now = Date.now() / 1000;
    const rows = found.map((image) => [
      image.name,
      image.digest.slice('sha256:'.length, 'sha256:'.length + 12),
      size(image.size),
      age(now - image.created),
      image.owner,
      image.source,
    ]);
    const columns = [
      { title: 'NAME' },
      { title: 'DIGEST' },
      { title: 'SIZE', right: true },
      { title: 'AGE', right: true },
      { title: 'OWNER' },
      { title: 'SOURCE' },
    ];
    terminal.print(table(columns, rows, terminal));
    return 0;
  },
};

/** An image as --json shows it. */
export function imageView(image: v1.Image.$Properties): {
  name: string;
  digest: string;
  size: number;
  created: number;
  owner: string;
  source: string;
  format: string;
} {
  return {
    name: image.name ?? '',
    digest: image.digest ?? '',
    size: Number(image.size ?? 0),
    created: image.created ?? 0,
    owner: image.owner ?? '',
    source: image.source ?? '',
    format: image.format ?? '',
  };
}
