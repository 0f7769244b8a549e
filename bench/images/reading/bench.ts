/** How fast programs read from an image, in every form that it could have. */
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { debianRootfs } from '../../../scripts/library/rootfs.js';
import type { Progress } from '../../bench.js';
import { installPeers, peers } from '../../packages.js';
import { run } from '../../program.js';
import { withScratchDisk } from '../scratch-disk.js';
import { allForms, makeForm, type MadeForm, type Source } from './forms.js';
import { makeLevels, type Level } from './levels.js';
import { takeSamples, type Sample } from './samples.js';
import { allWorkloads } from './workloads.js';

/** Debian packages of the root file system that is read. */
export const PACKAGES = ['python3-numpy', 'python3-mpi4py'] as const;

export interface ReadingPlan {
  readonly rounds: number;
  /** How many processes import at once. */
  readonly processes: number;
  /** Of zstd, for what is read. */
  readonly level: number;
  /** Bytes. */
  readonly blockSizes: readonly number[];
  /** Levels of zstd that images are made with. */
  readonly levels: readonly number[];
}

export interface Reading {
  readonly workloads: readonly { readonly id: string; readonly title: string }[];
  readonly forms: readonly Pick<MadeForm, 'id' | 'title' | 'size' | 'making'>[];
  readonly levels: readonly Level[];
  readonly samples: readonly Sample[];
}

/** @param base an empty directory for the disk that is read from, as a file */
export async function measureReading(
  plan: ReadingPlan,
  base: string,
  signal: AbortSignal,
  say: Progress,
): Promise<Reading> {
  await installPeers(peers.reading);
  // The directory is compared as it is on the file system that most nodes have.
  return withScratchDisk(base, 'ext4', ({ directory }) => measureOn(directory, plan, signal, say));
}

async function measureOn(base: string, plan: ReadingPlan, signal: AbortSignal, say: Progress): Promise<Reading> {
  const source = await unpack(base, say);
  const images = join(base, 'images');
  await mkdir(images);
  const forms: MadeForm[] = [];
  for (const form of allForms(plan.level, plan.blockSizes)) {
    signal.throwIfAborted();
    say(`making ${form.title}`);
    forms.push(await makeForm(form, source, images));
  }
  const workloads = await allWorkloads(source.directory, plan.processes);
  const samples = await takeSamples(forms, workloads, plan.rounds, join(base, 'mount'), signal, say);
  const levels = await makeLevels(plan.levels, source.tar, base, signal, say);
  return {
    workloads: workloads.map(({ id, title }) => ({ id, title })),
    forms: forms.map(({ id, title, size, making }) => ({
      id,
      title,
      size,
      ...(making === undefined ? {} : { making }),
    })),
    levels,
    samples,
  };
}

async function unpack(base: string, say: Progress): Promise<Source> {
  say('a Debian root file system with numpy and mpi4py (half a minute the first time)');
  const { tar } = await debianRootfs('python', PACKAGES);
  const directory = join(base, 'directory');
  await mkdir(directory);
  // Without device nodes, which images do not have either.
  await run(['tar', '--extract', '--exclude=./dev/*', `--directory=${directory}`, `--file=${tar}`]);
  return { tar, directory };
}
