import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { hostname, tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { parseImportName } from '../../image/reference.js';
import { usage } from '../arguments.js';
import { checkBuildah, runBuildah } from '../build/buildah.js';
import { bringLayout, LAYOUT_TAG, type Task } from '../build/layout.js';
import { ask } from '../client.js';
import { json, type Call, type Command } from '../command.js';
import { untilInterrupted } from '../interrupt.js';
import { imageView } from './images.js';
import { jsonText } from '../terminal.js';

export const build: Command = {
  name: 'build',
  summary: 'build an image from a Dockerfile',
  synopsis: ['build -t NAME [-f FILE] [BUILDAH-OPTION...] DIRECTORY'],
  description: [
    'Has buildah build the image that DIRECTORY/Containerfile or Dockerfile describes, as you and without privileges, and adds ' +
      'it to the store, as NAME, for you alone; what root builds is for everyone. For login nodes: it needs buildah, and ' +
      'subordinate ids for you (subuid(5)).',
    'All options that are not below are given to buildah build as they are: --build-arg, --target, --layers, --secret and the ' +
      'others of buildah-build(1). RUN steps are isolated by chroot(1) unless --isolation says otherwise: that works where a ' +
      'container runtime does not.',
    "buildah keeps its images where your containers' storage.conf says. Nothing is left there, unless you give --layers: then " +
      'the image stays, under NAME, and the next build begins where it differs. That place should be on a local disk.',
  ],
  options: [
    {
      name: 'tag',
      letter: 't',
      value: 'NAME',
      description: 'What to call the image. Repeated, it gets several names.',
    },
    { name: 'file', letter: 'f', value: 'FILE', description: 'The Dockerfile.' },
    { name: 'layers', description: 'Keep what each step has made, for the next build.' },
    json,
  ],
  operands: ['[ARGUMENT...]'],
  passesOptions: true,
  examples: [
    { command: 'berth build -t lammps:mine .', text: 'What ./Dockerfile describes.' },
    { command: 'berth build -t app:2 --build-arg VERSION=2 -f app.dockerfile src', text: 'With an option of buildah.' },
  ],
  exitStatus: [
    { status: 4, text: 'The site does not let you add images.' },
    { status: 6, text: 'buildah failed, or cannot work here; or the store is full or cannot be used.' },
    { status: 130, text: 'Interrupted (143: terminated). Nothing half done is left.' },
  ],
  run: (call) => untilInterrupted(call.terminal, (signal) => buildImage(call, signal)),
};

/** The words of the command line, ours and buildah's. */
interface Wish {
  readonly names: readonly string[];
  readonly json: boolean;
  readonly words: readonly string[];
}

async function buildImage(call: Call, signal: AbortSignal): Promise<number> {
  const wish = parseWish(call.operands);
  const [name = '', ...others] = wish.names;
  const task = { action: 'building', name } as const;
  await checkBuildah(task);
  const directory = await mkdtemp(join(tmpdir(), 'berth-build-'));
  try {
    const image = await makeImage(task, wish.words, directory, signal);
    const path = join(directory, 'layout');
    const layout = `oci:${path}:${LAYOUT_TAG}`;
    await runBuildah(task, ['push', '--quiet', '--disable-compression', image, layout], signal, { quiet: true });
    if (!keepsLayers(wish.words)) await runBuildah(task, ['rmi', image], signal, { quiet: true });
    const context = resolve(wish.words.at(-1) ?? '.');
    const shown = { ...call, flag: (option: string) => option === 'json' && wish.json };
    const source = `built in ${context} on ${hostname()}`;
    const pulled = await bringLayout(shown, task, { path, temporary: directory, source }, signal);
    for (const other of others) await ask(call.socket, { tag: { reference: name, name: other } });
    const view = imageView(pulled.image);
    if (wish.json) call.terminal.print(jsonText({ image: view, names: wish.names }, 2));
    else call.terminal.print(`built ${wish.names.join(', ')}  ${view.digest}`);
    return 0;
  } finally {
    await rm(directory, { recursive: true, force: true });
  }
}

/** Builds, and returns the image's id in buildah's storage. */
async function makeImage(
  task: Task,
  words: readonly string[],
  directory: string,
  signal: AbortSignal,
): Promise<string> {
  const id = join(directory, 'id');
  const isolated =
    words.some((word) => /^--isolation(=|$)/.test(word)) || process.env['BUILDAH_ISOLATION'] !== undefined;
  const own = [...(isolated ? [] : ['--isolation=chroot']), ...(keepsLayers(words) ? ['--tag', task.name] : [])];
  await runBuildah(task, ['build', '--iidfile', id, ...own, ...words], signal, { quiet: false });
  return (await readFile(id, 'utf8')).trim();
}

function keepsLayers(words: readonly string[]): boolean {
  return words.some((word) => word === '--layers' || word === '--layers=true');
}

/** Takes what is ours out of the words; all else is for buildah to understand. */
function parseWish(argv: readonly string[]): Wish {
  const names: string[] = [];
  const words: string[] = [];
  let wantsJson = false;
  for (let at = 0; at < argv.length; at++) {
    const word = argv[at] ?? '';
    const [, joined] = /^(?:--tag=|-t)(.+)$/s.exec(word) ?? [];
    if (joined !== undefined) names.push(parseImportName(joined));
    else if (word === '-t' || word === '--tag') names.push(parseImportName(argv[++at] ?? ''));
    else if (word === '--json') wantsJson = true;
    else words.push(word);
  }
  if (names.length === 0) throw usage('berth build needs -t NAME', 'the image has to be called something', 'build');
  return { names, json: wantsJson, words };
}
