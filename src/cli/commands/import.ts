import { PassThrough } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { closeSync, statSync } from 'node:fs';
import { BerthError, reasonOf } from '../../errors/index.js';
import { parseImportName } from '../../image/reference.js';
import type { v1 } from '../../protocol/index.js';
import { Connection } from '../client.js';
import { json, type Call, type Command } from '../command.js';
import { prepareArchive } from '../import/layers.js';
import { makePipe, type Pipe } from '../import/pipe.js';
import { sourceError, type Source } from '../import/program.js';
import { openSource } from '../import/source.js';
import { ArchiveFault, LayersFound, TarFilter } from '../import/tar-filter.js';
import { untilInterrupted } from '../interrupt.js';
import { findInArchive, parseArchive, type ArchiveReference } from '../pull/archive.js';
import { Progress } from '../pull/progress.js';
import { bring } from '../pull/session.js';
import { count, jsonText, size, type Terminal } from '../terminal.js';
import { imageView } from './images.js';

export const importCommand: Command = {
  name: 'import',
  summary: 'add an image to the store of this node',
  synopsis: ['import [--json] NAME SOURCE'],
  description: [
    'Makes an image of SOURCE and gives it NAME: [REGISTRY/]PATH[:TAG], in lower case, with the tag "latest" when none is ' +
      'given. A name that is taken goes to the new image; the old one can still be named by its digest. What root imports ' +
      "is for everyone on the site; whether users may import, for themselves, is the site's choice ([store] import).",
    'SOURCE is a directory that holds a root file system; a tar archive, plain or compressed with gzip, xz or zstd; a ' +
      'squashfs file; or "-" for an archive on standard input. What a file is, its content decides and not its name.',
    'Or SOURCE is an image in layers: a file of docker save, podman save or skopeo, an OCI image layout; or docker-archive:FILE[:NAME:TAG], ' +
      'oci-archive:FILE[:NAME] or oci:DIRECTORY[:NAME], where there are several images in one place. Layers that the store ' +
      'has of you already are not read again. For these the site decides as for berth pull ([store] pull).',
    'The source is read with your own rights. Of a directory, files that belong to you belong to root in the image; others ' +
      'keep their numbers. Sockets and device nodes are left out: containers have a /dev of their own.',
    'Nothing can be seen of an image until it is complete. An import that is interrupted leaves nothing behind.',
  ],
  options: [json],
  operands: ['NAME', 'SOURCE'],
  examples: [
    { command: 'berth import debian:12 debian-12.tar.zst', text: 'From an archive.' },
    { command: 'podman export c1 | berth import lammps:2024 -', text: 'From podman, without a file in between.' },
    { command: 'docker save app:1 >app.tar; berth import app:1 app.tar', text: 'From docker, with its layers.' },
    { command: 'berth import env ./rootfs', text: 'From a directory, as env:latest.' },
  ],
  exitStatus: [
    { status: 4, text: 'The site does not let you import.' },
    { status: 6, text: 'The store is full or cannot be used, or the archive could not be converted.' },
  ],
  run: importImage,
};

async function importImage(call: Call): Promise<number> {
  const [name = '', text = ''] = call.operands;
  // The daemon looks at the name again; here a slip is told before gigabytes have been read.
  const parsed = parseImportName(name);
  const archive = parseArchive(text);
  if (archive) return importLayers(call, parsed, archive);
  try {
    return await importRoot(call);
  } catch (error) {
    if (!(error instanceof LayersFound)) throw error;
    return importLayers(call, parsed, layersIn(text, error));
  }
}

/** What was seen to hold an image in layers, as skopeo is told of it. */
function layersIn(text: string, { transport, message }: LayersFound): ArchiveReference {
  if (text === '-') throw sourceError(text, `${message}: save it to a file, and give berth the file`);
  if (text.includes(':')) throw sourceError(text, 'it holds an image in layers; give it a name without a colon');
  if (!statSync(text).isDirectory()) return { transport, path: text, name: undefined };
  if (transport === 'oci-archive') return { transport: 'oci', path: text, name: undefined };
  throw sourceError(text, 'it holds the unpacked parts of an image in layers (docker save): give the archive itself');
}

/** Imports an image in layers, which goes the way of a pull. */
function importLayers(call: Call, name: string, archive: ArchiveReference): Promise<number> {
  const { flag, socket, terminal, operands } = call;
  return untilInterrupted(terminal, async (signal) => {
    const begin = Date.now();
    const [, text = ''] = operands;
    const progress = new Progress(name, terminal, 'auto');
    const workplace = await prepareArchive(archive.path, text, signal);
    try {
      const image = await findInArchive(archive, workplace, text, signal);
      const pulled = await bring(image, name, socket, progress, signal);
      progress.stop();
      const view = imageView(pulled.image);
      if (flag('json')) {
        terminal.print(jsonText({ image: view, pinned: pulled.pinned }, 2));
      } else {
        const seconds = ((Date.now() - begin) / 1000).toFixed(1);
        terminal.print(`imported ${view.name}  ${pulled.image.manifest || view.digest}`);
        const layers = count(image.layers.length, 'layer');
        terminal.print(terminal.dim(`${layers}, ${size(view.size)} in the store, ${seconds} s`));
      }
      return 0;
    } finally {
      progress.stop();
      await workplace.remove();
    }
  });
}

/** Imports a root file system. */
async function importRoot({ operands: [name = '', text = ''], flag, socket, terminal }: Call): Promise<number> {
  const begin = Date.now();
  const source = await openSource(text, process.stdin);
  const filter = new TarFilter();
  try {
    const image = await send({ name, text, source, filter, socket, terminal });
    if (flag('json')) {
      terminal.print(jsonText({ image: imageView(image), deviceNodesLeftOut: filter.devices }, 2));
      return 0;
    }
    const seconds = ((Date.now() - begin) / 1000).toFixed(1);
    const view = imageView(image);
    terminal.print(`imported ${view.name}  ${view.digest}`);
    terminal.print(terminal.dim(`${filter.entries} entries, ${size(view.size)} in the store, ${seconds} s`));
    if (filter.devices > 0) {
      const nodes = filter.devices === 1 ? '1 device node was' : `${filter.devices} device nodes were`;
      terminal.warn(`berth: ${nodes} left out: containers have a /dev of their own`);
    }
    return 0;
  } finally {
    source.stop();
    terminal.progress('');
  }
}

interface Transfer {
  readonly name: string;
  /** The source as the user named it. */
  readonly text: string;
  readonly source: Source;
  readonly filter: TarFilter;
  readonly socket: string;
  readonly terminal: Terminal;
}

async function send(transfer: Transfer): Promise<v1.Image.$Properties> {
  const connection = await Connection.open(transfer.socket);
  const pipe = makePipe();
  try {
    connection.send({ import: { name: transfer.name, sourceFd: pipe.readEnd, source: transfer.source.label } });
    // berthd's answer can come before the archive's end, when it is an error.
    const answer = connection.reply();
    const sent = flow(transfer, pipe).then(() => {
      connection.send({ importEnd: {} });
      return answer;
    });
    const reply = await Promise.race([answer, sent]);
    return reply.import?.image ?? {};
  } finally {
    pipe.writeEnd.destroy();
    closeSync(pipe.readEnd);
    connection.close();
  }
}

/** Moves the archive into the pipe. Resolves when it is whole there and all that made it has ended well. */
async function flow({ text, name, source, filter, terminal }: Transfer, pipe: Pipe): Promise<void> {
  const meter = progressMeter(name, terminal);
  try {
    await pipeline(source.archive, meter, filter, pipe.writeEnd);
  } catch (error) {
    // A decompressor that fails cuts the archive short: its own words are the cause, not the archive's end.
    if (error instanceof ArchiveFault) {
      if (error.atEnd) await source.finished;
      throw sourceError(text, error.message);
    }
    throw error instanceof BerthError || error instanceof LayersFound ? error : sourceError(text, reasonOf(error));
  }
  await source.finished;
  terminal.progress(`${name}: waiting for berthd to finish the image`);
}

/** How often the progress is shown, in milliseconds. */
const PROGRESS_INTERVAL = 200;

function progressMeter(name: string, terminal: Terminal): PassThrough {
  const begin = Date.now();
  let shown = begin;
  let bytes = 0;
  const meter = new PassThrough({ highWaterMark: 1024 * 1024 });
  meter.on('data', (chunk: Buffer) => {
    bytes += chunk.length;
    const now = Date.now();
    if (now - shown < PROGRESS_INTERVAL) return;
    shown = now;
    terminal.progress(`${name}: ${size(bytes)} read, ${size((bytes * 1000) / (now - begin))}/s`);
  });
  return meter;
}
