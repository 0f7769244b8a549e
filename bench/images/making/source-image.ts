/** The image that is pulled: of realistic size, with layers that add, overwrite and delete. */
import { createHash } from 'node:crypto';
import { chmod, mkdir, readdir, rename, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { debianRootfs } from '../../../scripts/library/rootfs.js';
import { repository } from '../../../test/cluster/layout.js';
import type { Progress } from '../../bench.js';
import { run } from '../../program.js';
import { writeApplication } from './content.js';

/** Tags of the image: one to pull first, and two that differ from it in the last layer only. */
export const tags = { first: 'first', smallChange: 'small-change', largeChange: 'large-change' } as const;

export type Tag = (typeof tags)[keyof typeof tags];

/** Each list of Debian packages is a layer on the one before. */
const SYSTEMS: readonly (readonly string[])[] = [
  [],
  ['python3-numpy', 'python3-mpi4py'],
  ['python3-numpy', 'python3-mpi4py', 'g++', 'libopenmpi-dev', 'make'],
];

/** Changes with what this file makes, so that an older image is not taken for it. */
const VERSION = 1;

/**
 * Makes the image as an OCI layout. It is kept under build/, and made again only when its recipe has changed; that takes
 * some two minutes and the network.
 *
 * Its layers: a small Debian; Python with numpy and mpi4py, which overwrites what installing packages changes; compilers; a
 * layer that deletes and overwrites; an application; and on top some configuration, or a larger application.
 *
 * @returns the layout's directory
 */
export async function sourceImage(say: Progress, signal: AbortSignal): Promise<string> {
  const key = createHash('sha256')
    .update(JSON.stringify([VERSION, SYSTEMS]))
    .digest('hex')
    .slice(0, 12);
  const kept = join(repository, 'build', 'bench', `image-${key}`);
  if (await stat(kept).catch(() => undefined)) return kept;
  say('an image of six layers (two minutes the first time)');
  const scratch = `${kept}.${process.pid}`;
  await mkdir(scratch, { recursive: true });
  try {
    const layout = join(scratch, 'layout');
    await makeLayers(layout, scratch, signal);
    await rename(layout, kept);
    return kept;
  } finally {
    await rm(scratch, { recursive: true, force: true });
  }
}

async function makeLayers(layout: string, scratch: string, signal: AbortSignal): Promise<void> {
  const base = `${layout}:base`;
  const bundle = join(scratch, 'bundle');
  const root = join(bundle, 'rootfs');
  await run(['umoci', 'init', '--layout', layout]);
  await run(['umoci', 'new', '--image', base]);
  await run(['umoci', 'unpack', '--image', base, bundle]);
  const commit = () => run(['umoci', 'repack', '--refresh-bundle', '--image', base, bundle], { signal });
  for (const [index, packages] of SYSTEMS.entries()) {
    const { tar } = await debianRootfs(`layer-${index + 1}`, packages);
    await run(['tar', '--extract', '--exclude=./dev/*', `--directory=${root}`, `--file=${tar}`], { signal });
    await commit();
  }
  await deleteAndOverwrite(root);
  await commit();
  const add = async (from: string, tag: string, size: { seed: number; sources: number; tables: number }) => {
    signal.throwIfAborted();
    const archive = join(scratch, `${tag}.tar`);
    const directory = join(scratch, tag);
    await writeApplication(archive, directory, { name: tag, ...size });
    await run(['umoci', 'raw', 'add-layer', '--image', `${layout}:${from}`, '--tag', tag, archive], { signal });
  };
  await add('base', 'application', { seed: 1, sources: 3000, tables: 6 });
  await add('application', tags.first, { seed: 2, sources: 50, tables: 0 });
  await add('application', tags.smallChange, { seed: 3, sources: 50, tables: 0 });
  await add('application', tags.largeChange, { seed: 4, sources: 2000, tables: 12 });
}

/** What a line of a Dockerfile that "cleans up" does: the files stay in the layers beneath, or come a second time. */
async function deleteAndOverwrite(root: string): Promise<void> {
  for (const path of [
    'usr/share/doc',
    'usr/share/perl5',
    'usr/lib/python3/dist-packages/numpy/core/tests',
    'var/cache/apt',
  ]) {
    await rm(join(root, path), { recursive: true, force: true });
  }
  const compilers = join(root, 'usr/lib/gcc/x86_64-linux-gnu/12');
  for (const name of await readdir(compilers)) {
    if (name.endsWith('.a')) await rm(join(compilers, name));
    else if (name.startsWith('cc1')) await chmod(join(compilers, name), 0o700);
  }
}
