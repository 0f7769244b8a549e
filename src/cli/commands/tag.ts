import { parseImportName } from '../../image/reference.js';
import { ask } from '../client.js';
import { json, type Command } from '../command.js';
import { imageView } from './images.js';
import { jsonText } from '../terminal.js';

export const tag: Command = {
  name: 'tag',
  summary: 'give an image another name',
  synopsis: ['tag [--json] IMAGE NAME'],
  description: [
    'IMAGE is a name, with or without a digest, or a digest; NAME is [REGISTRY/]PATH[:TAG]. The new name is yours alone, or ' +
      "everybody's when root gives it. Nothing is copied. A name that is taken goes to this image; the one it meant before " +
      'can still be named by its digest.',
  ],
  options: [json],
  operands: ['IMAGE', 'NAME'],
  examples: [
    { command: 'berth tag lammps:2024 lammps:paper', text: 'A name that the next pull of lammps:2024 does not move.' },
    { command: 'berth tag user:alice/lammps:2 lammps:2', text: "As root: alice's image for everyone." },
  ],
  exitStatus: [
    { status: 3, text: 'There is no such image.' },
    { status: 4, text: 'You may not give this image a name.' },
  ],
  run: async ({ operands: [reference = '', name = ''], flag, socket, terminal }) => {
    parseImportName(name);
    const reply = await ask(socket, { tag: { reference, name } });
    const image = imageView(reply.tag?.image ?? {});
    if (flag('json')) terminal.print(jsonText({ image }, 2));
    else terminal.print(`${image.name}  ${image.digest}`);
    return 0;
  },
};
