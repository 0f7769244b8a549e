/** The same root file system in every form that is compared, and how each is mounted. */
import { mkdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { convert, type Compression } from '../converter.js';
import { run, timed } from '../../program.js';

/** Bytes. What squashfs has always used, and what most tools still do (mksquashfs(1)). */
export const USUAL_BLOCK = 128 * 1024;

/** The root file system that everything is made of. */
export interface Source {
  readonly tar: string;
  /** Unpacked. */
  readonly directory: string;
}

type Mounting = 'loop' | 'file' | 'squashfuse' | 'none';

export interface Form {
  readonly id: string;
  readonly title: string;
  /** Through a loop device; the file itself (erofs since Linux 6.12); by FUSE; or not at all, as it is on the disk. */
  readonly mounting: Mounting;
  /** The image file's name; forms that only differ in how they are mounted share it. */
  readonly file?: string;
  /** Makes the image file. */
  readonly make?: (source: Source, target: string) => Promise<unknown>;
}

export interface MadeForm extends Form {
  /** The image file, or the directory itself. */
  readonly path: string;
  /** Bytes of the image file, or of all files of the directory. */
  readonly size: number;
  /** Milliseconds that making the image file took; nothing where there was nothing to make. */
  readonly making?: number;
}

const kibibytes = (bytes: number): string => (bytes >= 2 ** 20 ? `${bytes / 2 ** 20} MiB` : `${bytes / 1024} KiB`);

/** A squashfs image as Berth makes it. */
function squashfs(compression: Compression): Form {
  const { level, blockSize } = compression;
  return {
    id: `squashfs-${blockSize}-${level}`,
    title: `squashfs, zstd ${level}, ${kibibytes(blockSize)}`,
    mounting: 'loop',
    file: `${blockSize}-${level}.squashfs`,
    make: ({ tar }, target) => convert('image', tar, target, compression),
  };
}

/** A squashfs image by mksquashfs, with all processors. */
function mksquashfs(id: string, title: string, { level, blockSize }: Compression, more: readonly string[] = []): Form {
  const options = ['-noappend', '-quiet', '-no-progress', '-comp', 'zstd', '-Xcompression-level', String(level)];
  return {
    id,
    title,
    mounting: 'loop',
    file: `${id}.squashfs`,
    make: ({ directory }, target) =>
      run(['mksquashfs', directory, target, ...options, '-b', String(blockSize), ...more], { quiet: true }),
  };
}

function erofs(id: string, title: string, options: readonly string[]): Form {
  return {
    id,
    title,
    mounting: 'file',
    file: `${id}.erofs`,
    make: ({ directory }, target) => run(['mkfs.erofs', '--quiet', ...options, target, directory], { quiet: true }),
  };
}

export function allForms(level: number, blockSizes: readonly number[]): readonly Form[] {
  const usual = squashfs({ level, blockSize: USUAL_BLOCK });
  const compression = { level, blockSize: USUAL_BLOCK };
  return [
    { id: 'directory', title: 'directory', mounting: 'none' },
    ...blockSizes.map((blockSize) => squashfs({ level, blockSize })),
    mksquashfs('mksquashfs', '… by mksquashfs, 128 KiB', compression),
    mksquashfs('no-fragments', '… without fragments, 128 KiB', compression, ['-no-fragments']),
    // Plain clusters of 4 KiB, of up to 64 KiB, and as far as this format compresses.
    erofs('erofs-lz4', 'erofs, lz4, 4 KiB', ['-zlz4']),
    erofs('erofs-lz4hc', 'erofs, lz4hc, 4 KiB', ['-zlz4hc']),
    erofs('erofs-lz4hc-64', 'erofs, lz4hc, 64 KiB', ['-zlz4hc', '-C65536']),
    { ...usual, id: 'squashfuse', title: `squashfuse, zstd ${level}, 128 KiB`, mounting: 'squashfuse' },
  ];
}

/** Makes the form's image file in the directory, unless another form has made it. */
export async function makeForm(form: Form, source: Source, directory: string): Promise<MadeForm> {
  if (form.file === undefined || form.make === undefined) {
    const sum = await run(['du', '--summarize', '--bytes', source.directory]);
    return { ...form, path: source.directory, size: Number(sum.split('\t')[0]) };
  }
  const path = join(directory, form.file);
  const present = await stat(path).catch(() => undefined);
  if (present) return { ...form, path, size: present.size };
  const { make } = form;
  const making = await timed(() => make(source, path));
  return { ...form, path, size: (await stat(path)).size, making };
}

/** Has `work` done with the form's root directory, mounted at `point` where it needs to be. */
export async function withMount<T>(form: MadeForm, point: string, work: (root: string) => Promise<T>): Promise<T> {
  const mount = mountCommand(form, point);
  if (mount === undefined) return work(form.path);
  await mkdir(point, { recursive: true });
  await run(mount);
  try {
    return await work(point);
  } finally {
    await run(['umount', point]);
  }
}

function mountCommand({ mounting, path, file }: MadeForm, point: string): readonly string[] | undefined {
  const type = file?.endsWith('.erofs') ? 'erofs' : 'squashfs';
  switch (mounting) {
    case 'none':
      return undefined;
    case 'loop':
      return ['mount', '-t', type, '-o', 'ro,nosuid,nodev,loop', path, point];
    case 'file':
      return ['mount', '-i', '-t', type, '-o', 'ro,nosuid,nodev', path, point];
    case 'squashfuse':
      // The low-level one, which is the faster of the two.
      return ['squashfuse_ll', '-o', 'ro,nosuid,nodev', path, point];
  }
}
