import type { v1 } from '../../protocol/index.js';
import { ask } from '../client.js';
import { json, type Command } from '../command.js';
import { age, count, jsonText, plain, size, table } from '../terminal.js';

/** Images of one other user that are shown to somebody who did not ask for them. */
const MOST_OF_ONE = 20;

/** Users who are named of those who share more than is shown. */
const MOST_NAMED = 3;

/** Longest source of an image of another user in a line, in characters: it may be anything. */
const MOST_SOURCE = 80;

export const images: Command = {
  name: 'images',
  summary: 'list the images that srun --image can name',
  synopsis: ['images [--json] [NAME]'],
  description: [
    'Lists the images of the site, your own, and those that other users share with you, which are named user:OWNER/NAME. A ' +
      'name of your own comes before the same name of the site. An image of yours or of the site can also be named by its ' +
      'digest, as --json shows it in full: that one never changes.',
    'USERS is who may use it under this name: everyone, its owner alone, or how many users and groups besides. IN USE is how ' +
      'many containers of this node run it now, or how long ago one was last started, on any node that shares the store.',
    `With NAME, those whose names begin so. Without, of other users who share more than ${MOST_OF_ONE} images each, the newest of them; ` +
      'berth images user:OWNER/ lists the others too, and so does --json.',
  ],
  options: [json],
  operands: ['[NAME]'],
  examples: [
    { command: 'berth images', text: 'What there is.' },
    { command: 'berth images user:alice/', text: 'What alice shares with you.' },
    {
      command: 'berth images --json | jq -r .images[].digest',
      text: 'The digests, for a job script that is to run the same for ever.',
    },
  ],
  run: async ({ flag, operands: [beginning], socket, terminal }) => {
    const reply = await ask(socket, { images: {} });
    const found = (reply.images?.images ?? []).map(imageView).filter(({ name }) => name.startsWith(beginning ?? ''));
    if (flag('json')) {
      terminal.print(jsonText({ images: found }, 2));
      return 0;
    }
    const { shown, left } = beginning === undefined ? shorten(found) : { shown: found, left: [] };
    const now = Date.now() / 1000;
    const rows = shown.map((image) => [
      image.name,
      image.digest.slice('sha256:'.length, 'sha256:'.length + 12),
      size(image.size),
      age(now - image.created),
      image.owner,
      users(image),
      inUse(image, now),
      isShared(image) ? short(image.source) : image.source,
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
    if (left.length > 0) terminal.warn(`berth: ${plain(leftOut(left))}`);
    return 0;
  },
};

/** How many images of a user are not shown. */
interface Left {
  readonly owner: string;
  readonly number: number;
}

/** Leaves out the older ones of each other user who shares many: nobody is to fill everybody's screen. */
function shorten(images: readonly ImageView[]): {
  readonly shown: readonly ImageView[];
  readonly left: readonly Left[];
} {
  const left: Left[] = [];
  const hidden = new Set<ImageView>();
  const owners = new Set(images.filter(isShared).map(({ owner }) => owner));
  for (const owner of owners) {
    const own = images.filter((image) => isShared(image) && image.owner === owner);
    const older = own.toSorted((a, b) => b.created - a.created).slice(MOST_OF_ONE);
    for (const image of older) hidden.add(image);
    if (older.length > 0) left.push({ owner, number: older.length });
  }
  return { shown: images.filter((image) => !hidden.has(image)), left: left.toSorted((a, b) => b.number - a.number) };
}

/** What is not shown, and how to see it. */
function leftOut(left: readonly Left[]): string {
  const all = left.reduce((sum, { number }) => sum + number, 0);
  const named = left.slice(0, MOST_NAMED).map(({ owner, number }) => `${owner} (${number})`);
  const others = left.length - named.length;
  const owners = others > 0 ? [...named, count(others, 'other user')] : named;
  const last = owners.pop() ?? '';
  const by = owners.length > 0 ? `${owners.join(', ')} and ${last}` : last;
  const [first] = left;
  const are = all === 1 ? 'image is' : 'images are';
  return `${all} more ${are} shared with you, by ${by}: berth images user:${first?.owner ?? ''}/ lists all of ${first?.owner ?? ''}`;
}

/** Is it another user's? Only those are named so; "user:1" may be a tag of one's own image. */
function isShared({ name, owner }: ImageView): boolean {
  return name.startsWith(`user:${owner}/`);
}

function short(source: string): string {
  return source.length > MOST_SOURCE ? `${source.slice(0, MOST_SOURCE - 1)}…` : source;
}

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
