import { closeSync } from 'node:fs';
import { BerthError, reasonOf } from '../../errors/index.js';
import { usage } from '../arguments.js';
import { json, type Call, type Command } from '../command.js';
import { parseDestination, writeImage } from '../export/destination.js';
import { fetchImage } from '../export/fetch.js';
import type { Compression } from '../export/layer.js';
import { untilInterrupted } from '../interrupt.js';
import { jsonText, size } from '../terminal.js';

export const exportCommand: Command = {
  name: 'export',
  summary: 'write an image to a file, for another site or another tool',
  synopsis: ['export [--force] [--compression gzip|zstd|none] [--json] IMAGE DESTINATION'],
  description: [
    'DESTINATION is a file, which becomes a squashfs file; - for such a file on standard output; oci-archive:FILE[:TAG], which podman, docker, skopeo and apptainer ' +
      'read; or oci:DIRECTORY[:TAG], an OCI image layout, to which the image is added. Without TAG it gets the tag that it ' +
      'has here.',
    'In OCI form the image has one layer, and the configuration that it was pulled with. berth import reads all three again, ' +
      'with the same files in them.',
    'berthd only opens the image for you: everything is written with your own rights. A file that is there is not replaced ' +
      'unless --force says so, and one that is not finished is never seen.',
  ],
  options: [
    { name: 'force', letter: 'f', description: 'Replace a file that is there.' },
    {
      name: 'compression',
      value: 'gzip|zstd|none',
      description: 'Of the OCI layer; gzip, which all tools read, unless given.',
    },
    json,
  ],
  operands: ['IMAGE', 'DESTINATION'],
  examples: [
    { command: 'berth export lammps:2024 lammps.sqsh', text: 'For a site that takes squashfs files.' },
    { command: 'berth export lammps:2024 oci-archive:lammps.tar', text: 'podman load -i lammps.tar reads it.' },
    {
      command: 'berth export lammps:2024 oci:images:lammps',
      text: 'skopeo copy oci:images:lammps docker://… uploads it.',
    },
  ],
  exitStatus: [
    { status: 3, text: 'There is no such image.' },
    { status: 6, text: 'It could not be written.' },
    { status: 130, text: 'Interrupted (143: terminated). Nothing half done is left.' },
  ],
  run: (call) => untilInterrupted(call.terminal, (signal) => exportImage(call, signal)),
};

/** How often the progress is shown, in milliseconds. */
const PROGRESS_INTERVAL = 200;

async function exportImage({ operands, flag, value, socket, terminal }: Call, signal: AbortSignal): Promise<number> {
  const [reference = '', text = ''] = operands;
  const compression = compressionOf(value('compression') ?? 'gzip');
  if (text === '-') checkStream(flag('json'));
  const source = await fetchImage(reference, socket);
  try {
    const destination = parseDestination(text, source.image.name);
    let shown = 0;
    const watch = (bytes: number): void => {
      const now = Date.now();
      if (now - shown < PROGRESS_INTERVAL) return;
      shown = now;
      terminal.progress(`${source.image.name}: ${size(bytes)}`);
    };
    await writeImage(source, destination, { compression, force: flag('force'), watch }, process.stdout, signal);
    terminal.progress('');
    const { kind, path, tag } = destination;
    if (flag('json')) terminal.print(jsonText({ image: source.image, kind, path, tag }, 2));
    // Standard output has the image itself.
    else if (kind === 'stream') terminal.warn(`exported ${source.image.name} to standard output`);
    else terminal.print(`exported ${source.image.name} to ${text}`);
    return 0;
  } catch (error) {
    signal.throwIfAborted();
    if (error instanceof BerthError) throw error;
    const name = source.image.name;
    throw new BerthError('BERTH_EXPORT_FAILED', { name, destination: text, why: reasonOf(error) }, { cause: error });
  } finally {
    terminal.progress('');
    closeSync(source.file);
  }
}

function checkStream(wantsJson: boolean): void {
  if (wantsJson) throw usage('--json was given with -', 'standard output is to have the image itself', 'export');
  if (!process.stdout.isTTY) return;
  throw usage('an image cannot be shown', 'standard output is a terminal: redirect it, or name a file', 'export');
}

function compressionOf(text: string): Compression {
  if (text === 'gzip' || text === 'zstd' || text === 'none') return text;
  throw usage(`--compression was given ${text}`, 'it is gzip, zstd or none', 'export');
}
