/** build/bin/berth-converter, by itself: without berthd, and without what confines it there. */
import { constants } from 'node:fs';
import { open, type FileHandle } from 'node:fs/promises';
import { join } from 'node:path';
import { repository } from '../../test/cluster/layout.js';
import { run, type ProgramOptions } from '../program.js';

const program = join(repository, 'build', 'bin', 'berth-converter');

export interface Compression {
  /** Of zstd. */
  readonly level: number;
  /** Bytes. */
  readonly blockSize: number;
}

function compressionOptions({ level, blockSize }: Compression): readonly string[] {
  return ['--level', String(level), '--block-size', String(blockSize)];
}

async function withFiles<T>(
  files: readonly { readonly path: string; readonly flags: number }[],
  work: (descriptors: readonly number[]) => Promise<T>,
): Promise<T> {
  const handles: FileHandle[] = [];
  try {
    for (const { path, flags } of files) handles.push(await open(path, flags, 0o600));
    return await work(handles.map(({ fd }) => fd));
  } finally {
    for (const handle of handles) await handle.close();
  }
}

const made = (path: string) => ({ path, flags: constants.O_CREAT | constants.O_TRUNC | constants.O_RDWR });
const given = (path: string) => ({ path, flags: constants.O_RDONLY });

type Options = Pick<ProgramOptions, 'signal'>;

/** Makes a squashfs image of a tar archive, or a layer file of a layer's blob. */
export async function convert(
  mode: 'image' | 'layer',
  archive: string,
  target: string,
  compression: Compression,
  options: Options = {},
): Promise<void> {
  await withFiles([given(archive), made(target)], ([input = -1, output = -1]) =>
    run([program, mode, '--output', '3', ...compressionOptions(compression)], {
      ...options,
      input,
      descriptors: [output],
    }),
  );
}

/** Makes a squashfs image of layer files, the lowest first. */
export async function assemble(layers: readonly string[], target: string, options: Options = {}): Promise<void> {
  await withFiles([made(target), ...layers.map(given)], (descriptors) => {
    const numbers = layers.flatMap((_, index) => ['--layer', String(index + 4)]);
    return run([program, 'assemble', '--output', '3', ...numbers], { ...options, descriptors });
  });
}
