import { usage } from '../arguments.js';
import { ask, Connection } from '../client.js';
import { json, type Call, type Command } from '../command.js';
import { jsonText, size } from '../terminal.js';
import { imageView, type ImageView } from './images.js';
import { inspectView } from './inspect.js';

interface Verdict {
  readonly image: ImageView;
  readonly sound: boolean;
  /** What is wrong with it. */
  readonly fault?: string;
}

/** What is wrong with an image that is damaged: as BERTH_IMAGE_DAMAGED. */
const DAMAGED = 6;

export const verify: Command = {
  name: 'verify',
  summary: 'read whole images, and say whether they are what their digests say',
  synopsis: ['verify [--json] IMAGE...', 'verify [--json] --all'],
  description: [
    'Reads the image file from its beginning to its end and compares its SHA-256 with its digest. berthd has that done by a ' +
      'program of its own, at low priority, one image at a time.',
    'A damaged image is mended by importing or pulling it again, under the same name.',
  ],
  options: [{ name: 'all', description: 'All images that you see.' }, json],
  operands: ['[IMAGE...]'],
  examples: [
    { command: 'berth verify lammps:2024', text: 'Is the file system to blame?' },
    { command: 'berth verify --all', text: 'As root, after a crash of the file server.' },
  ],
  exitStatus: [
    { status: 3, text: 'There is no such image.' },
    { status: DAMAGED, text: 'An image is damaged.' },
  ],
  run: async (call) => {
    const { flag, terminal } = call;
    const verdicts: Verdict[] = [];
    for (const reference of await references(call)) {
      terminal.progress(`${reference}: reading`);
      const verdict = await verifyOne(reference, call.socket);
      verdicts.push(verdict);
      terminal.progress('');
      if (!flag('json')) terminal.print(inWords(verdict));
    }
    if (flag('json')) terminal.print(jsonText({ verified: verdicts }, 2));
    return verdicts.every(({ sound }) => sound) ? 0 : DAMAGED;
  },
};

/** What was named, or, of all, each image once. */
async function references({ operands, flag, socket }: Call): Promise<readonly string[]> {
  if (flag('all') === operands.length > 0)
    throw usage('berth verify was called wrongly', 'it takes images, or --all', 'verify');
  if (operands.length > 0) return operands;
  const { images } = await ask(socket, { images: {} });
  const all = (images?.images ?? []).map(imageView);
  return [...new Map(all.map(({ digest, name }) => [digest, name])).values()];
}

async function verifyOne(reference: string, socket: string): Promise<Verdict> {
  // Without a limit: an image may be as large as it likes.
  const connection = await Connection.open(socket);
  try {
    connection.send({ inspect: { reference, verify: true } });
    const { inspect } = await connection.reply();
    const { image } = inspectView(inspect ?? {});
    const fault = inspect?.fault ?? '';
    return { image, sound: inspect?.sound ?? false, ...(fault === '' ? {} : { fault }) };
  } finally {
    connection.close();
  }
}

function inWords({ image, sound, fault = '' }: Verdict): string {
  return sound ? `${image.name}  sound, ${size(image.size)}` : `${image.name}  damaged: ${fault}`;
}
