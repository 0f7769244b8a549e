import { mkdtemp, rm } from 'node:fs/promises';
import { hostname, tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseImportName } from '../../image/reference.js';
import { checkBuildah, runBuildah } from '../build/buildah.js';
import { bringLayout, LAYOUT_TAG } from '../build/layout.js';
import { json, type Call, type Command } from '../command.js';
import { untilInterrupted } from '../interrupt.js';
import { jsonText, size } from '../terminal.js';
import { imageView } from './images.js';

export const migrate: Command = {
  name: 'migrate',
  summary: "add an image of podman's or buildah's to the store",
  synopsis: ['migrate [--json] IMAGE [NAME]'],
  description: [
    'IMAGE is one that podman images or buildah images shows you on this host. It gets the same name here, without ' +
      'localhost/, or NAME, and stays where it is too. For those who know podman-hpc migrate.',
  ],
  options: [json],
  operands: ['IMAGE', '[NAME]'],
  examples: [
    { command: 'podman build -t app:1 . && berth migrate app:1', text: 'Then srun --image=app:1 has it on all nodes.' },
  ],
  exitStatus: [
    { status: 4, text: 'The site does not let you add images.' },
    { status: 6, text: 'There is no such image, or buildah cannot work here; or the store is full or cannot be used.' },
    { status: 130, text: 'Interrupted (143: terminated). Nothing half done is left.' },
  ],
  run: (call) => untilInterrupted(call.terminal, (signal) => migrateImage(call, signal)),
};

async function migrateImage(call: Call, signal: AbortSignal): Promise<number> {
  const [image = '', given] = call.operands;
  const name = parseImportName(given ?? image.replace(/^(?:containers-storage:)?(?:localhost\/)?/, ''));
  const task = { action: 'migrating', name } as const;
  await checkBuildah(task);
  const directory = await mkdtemp(join(tmpdir(), 'berth-migrate-'));
  try {
    const path = join(directory, 'layout');
    const layout = `oci:${path}:${LAYOUT_TAG}`;
    // "--": an image may be called anything.
    const argv = ['push', '--quiet', '--disable-compression', '--', image.replace(/^containers-storage:/, ''), layout];
    await runBuildah(task, argv, signal, { quiet: true });
    const source = `containers-storage:${image} on ${hostname()}`;
    const pulled = await bringLayout(call, task, { path, temporary: directory, source }, signal);
    const view = imageView(pulled.image);
    if (call.flag('json')) call.terminal.print(jsonText({ image: view }, 2));
    else call.terminal.print(`migrated ${view.name}  ${view.digest}  ${size(view.size)}`);
    return 0;
  } finally {
    await rm(directory, { recursive: true, force: true });
  }
}
