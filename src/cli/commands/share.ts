import { usage } from '../arguments.js';
import { accountId, accountNames, type Database } from '../accounts.js';
import { ask } from '../client.js';
import { json, type Call, type Command } from '../command.js';
import { imageView, type ImageView } from './images.js';
import { jsonText } from '../terminal.js';

export const share: Command = {
  name: 'share',
  summary: 'say who may use an image of yours',
  synopsis: ['share [--json] IMAGE [--user USER]... [--group GROUP]...', 'share [--json] IMAGE --everyone | --nobody'],
  description: [
    'Others name a shared image user:YOU/NAME, in srun --image and everywhere else. Who is not named here any more cannot use ' +
      'it for new containers; those that run are not touched. It goes for all your names of the image, and for its digest.',
    "Of the site's images root can say likewise who may use them: licensed software is for those who have a licence. " +
      'Without an option, it shows who may use the image now.',
  ],
  options: [
    { name: 'user', letter: 'u', value: 'USER', multiple: true, description: 'This user. May be repeated.' },
    {
      name: 'group',
      letter: 'g',
      value: 'GROUP',
      multiple: true,
      description: 'All members of this group. May be repeated.',
    },
    { name: 'everyone', description: 'Everybody on the site.' },
    { name: 'nobody', description: 'Nobody but you, and root.' },
    json,
  ],
  operands: ['IMAGE'],
  examples: [
    { command: 'berth share lammps:2024 --group physics', text: 'srun --image=user:alice/lammps:2024 works for them.' },
    { command: 'berth share vasp:6 --group vasp', text: "As root: the site's image is for this group only." },
    { command: 'berth share lammps:2024 --nobody', text: 'No longer.' },
  ],
  exitStatus: [
    { status: 3, text: 'There is no such image.' },
    { status: 4, text: 'The image is not yours.' },
  ],
  run: async (call) => {
    const { operands, flag, socket, terminal } = call;
    const [reference = ''] = operands;
    const access = await wanted(call);
    const image = imageView(
      (access === undefined
        ? (await ask(socket, { inspect: { reference } })).inspect?.image
        : (await ask(socket, { share: { reference, access } })).share?.image) ?? {},
    );
    if (flag('json')) terminal.print(jsonText({ image }, 2));
    else terminal.print(`${image.name} is for ${await whom(image)}`);
    return 0;
  },
};

type Access = ImageView['access'];

/** What the options ask for; undefined when there are none. */
async function wanted({
  flag,
  values,
}: Call): Promise<{ everyone: boolean; uids: number[]; gids: number[] } | undefined> {
  const [users, groups] = [values('user'), values('group')];
  const named = users.length + groups.length > 0;
  const chosen = [flag('everyone'), flag('nobody'), named].filter(Boolean).length;
  if (chosen > 1)
    throw usage('berth share was given too much', 'everyone, nobody, or users and groups: one of them', 'share');
  if (chosen === 0) return undefined;
  const ids = (database: Database, names: readonly string[]): Promise<number[]> =>
    Promise.all(names.map((name) => accountId(database, name, 'share')));
  return { everyone: flag('everyone'), uids: await ids('passwd', users), gids: await ids('group', groups) };
}

async function whom({ owner, access }: ImageView): Promise<string> {
  const { everyone, uids, gids }: Access = access;
  if (everyone) return 'everyone';
  const [users, groups] = await Promise.all([accountNames('passwd', uids), accountNames('group', gids)]);
  return [owner === 'site' ? 'root' : owner, ...users, ...groups.map((name) => `group ${name}`)].join(', ');
}
