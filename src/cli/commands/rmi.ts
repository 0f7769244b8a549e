import { formatError, toErrorMessage } from '../../errors/index.js';
import { Connection } from '../client.js';
import { json, type Command, type Call } from '../command.js';
import { jsonText, size } from '../terminal.js';
import { imageView, type ImageView } from './images.js';

interface Removal {
  readonly image: ImageView;
  /** Did the image's file go too? */
  readonly freed: boolean;
  readonly keptFor?: string;
}

export const rmi: Command = {
  name: 'rmi',
  summary: 'remove images',
  synopsis: ['rmi [--force] [--json] IMAGE...'],
  description: [
    "Takes names of your own away; root, those of the site, and with user:NAME/IMAGE anybody's. Given a digest, it takes " +
      'all your names for that image.',
    'The image itself goes at once when nobody else has a name for it. While a job runs it, or was submitted with it, it ' +
      'stays for that job, and for nothing else; berth gc removes it when the last container has ended.',
  ],
  options: [
    {
      name: 'force',
      letter: 'f',
      description:
        'Do not keep it for jobs that you have submitted and that did not start yet; they will fail, or pull it again. For ' +
        "root, that goes for everybody's jobs. What runs is never disturbed.",
    },
    json,
  ],
  operands: ['IMAGE', '[IMAGE...]'],
  examples: [
    { command: 'berth rmi lammps:2023', text: 'One that is not needed any more.' },
    { command: 'berth rmi user:alice/tmp:1', text: "As root: alice's." },
  ],
  exitStatus: [
    { status: 3, text: 'There is no such image.' },
    { status: 4, text: "The image is the site's or another user's." },
  ],
  run: removeImages,
};

/** All of them, whatever becomes of one; the exit status is that of the first that failed. */
async function removeImages({ operands, flag, socket, terminal }: Call): Promise<number> {
  const removals: Removal[] = [];
  let status = 0;
  for (const reference of operands) {
    try {
      const removal = await removeOne(reference, flag('force'), socket);
      removals.push(removal);
      if (!flag('json')) terminal.print(inWords(removal));
    } catch (error) {
      const message = toErrorMessage(error);
      terminal.warn(formatError(message));
      status ||= message.exitStatus;
    }
  }
  if (flag('json')) terminal.print(jsonText({ removed: removals }, 2));
  return status;
}

async function removeOne(reference: string, force: boolean, socket: string): Promise<Removal> {
  // Without a limit: the store may be large, and a collection under way comes first.
  const connection = await Connection.open(socket);
  try {
    connection.send({ remove: { reference, force } });
    const { remove } = await connection.reply();
    const keptFor = remove?.keptFor ?? '';
    return {
      image: imageView(remove?.image ?? {}),
      freed: remove?.freed ?? false,
      ...(keptFor === '' ? {} : { keptFor }),
    };
  } finally {
    connection.close();
  }
}

function inWords({ image, freed, keptFor = '' }: Removal): string {
  if (freed) return `removed ${image.name}, and with it ${size(image.size)}`;
  return `removed the name ${image.name}; the image ${image.digest} stays: ${keptFor}`;
}
