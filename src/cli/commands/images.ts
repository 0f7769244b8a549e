import type { v1 } from '../../protocol/index.js';
import { ask } from '../client.js';
import { json, type Command } from '../command.js';
import { age, count, size, table } from '../terminal.js';

export const images: Command = {
  name: 'images',
  summary: 'list the images that srun --image can name',
  synopsis: ['images [--json]'],
  description: [
    'Lists the images of the site, your own, and those that other users share with you, which are named user:OWNER/NAME. A ' +
      'name of your own comes before the same name of the site. An image of yours or of the site can also be named by its ' +
      'digest, as --json shows it in full: that one never changes.',
    'USERS is who may use it under this name: everyone, its owner alone, or how many users and groups besides. IN USE is how ' +
      'many containers of this node run it now, or how long ago one was last started, on any node that shares the store.',
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
      users(image),
      inUse(image, now),
      image.source,
    ]);
    const columns = [
      { title: 'NAME' },
      { title: 'DIGEST' },
      { title: 'SIZE', right: true },
      { title: 'AGE', right: true },
      { title: 'OWNER' },
      { title: 'USERS' },
      { title: 'IN USE' },
      { title: 'SOURCE' },
    ];
    terminal.print(table(columns, rows, terminal));
    return 0;
  },
};

/** An image as --json shows it. */
export interface ImageView {
  readonly name: string;
  readonly digest: string;
  readonly size: number;
  readonly created: number;
  readonly owner: string;
  readonly source: string;
  readonly format: string;
  /** Digest of the manifest that it was pulled by. */
  readonly manifest?: string;
  readonly platform?: string;
  /** Who may use it besides its owner. */
  readonly access: { readonly everyone: boolean; readonly uids: readonly number[]; readonly gids: readonly number[] };
  /** Of this node, that run it now. */
  readonly containers: number;
  /** Its last launch anywhere; 0 for never. */
  readonly used: number;
}

export function imageView(image: v1.Image.$Properties): ImageView {
  const { access } = image;
  const manifest = image.manifest ?? '';
  const platform = image.platform ?? '';
  return {
    name: image.name ?? '',
    digest: image.digest ?? '',
    size: Number(image.size ?? 0),
    created: image.created ?? 0,
    owner: image.owner ?? '',
    source: image.source ?? '',
    format: image.format ?? '',
    ...(manifest === '' ? {} : { manifest }),
    ...(platform === '' ? {} : { platform }),
    access: { everyone: access?.everyone ?? false, uids: access?.uids ?? [], gids: access?.gids ?? [] },
    containers: image.containers ?? 0,
    used: image.used ?? 0,
  };
}

/** Who may use an image, in a few words. */
function users({ access: { everyone, uids, gids } }: ImageView): string {
  if (everyone) return 'everyone';
  const parts = ['owner'];
  if (uids.length > 0) parts.push(count(uids.length, 'user'));
  if (gids.length > 0) parts.push(count(gids.length, 'group'));
  return parts.join(', ');
}

function inUse({ containers, used }: ImageView, now: number): string {
  if (containers > 0) return count(containers, 'container');
  return used === 0 ? '-' : `${age(now - used)} ago`;
}
