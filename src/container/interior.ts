import type { JsonObject } from '../image/index.js';
import type { ContainerOptions, PlannedChange } from '../options/index.js';
import { v1 } from '../protocol/index.js';

/** What an image says of the programs that run in it (OCI image specification 1.1, config.md). */
export interface ImageWords {
  readonly environment: readonly { readonly name: string; readonly value: string }[];
  readonly workdir: string;
  readonly entrypoint: readonly string[];
  /** What is run by default; absent in what an earlier berthd noted. */
  readonly command?: readonly string[];
}

/** Most of an image's variables that count, and their longest: what a rank carries to its execve(2). */
const MOST_VARIABLES = 512;
const LONGEST_VARIABLE = 32 * 1024;

/**
 * Variables that belong to the job, the launcher or the user, whatever an image says of them: an image made on a
 * workstation has its maker's HOME, and NVIDIA_VISIBLE_DEVICES=all is not the image's to decide.
 */
const NOT_THE_IMAGE_S =
  /^(?:SLURM|SBATCH|SPANK|PMI|PMIX|PALS|BERTH|OMPI_COMM_WORLD|MPI_LOCALNRANKS|MPI_LOCALRANKID)(?:_|D_|$)|^(?:HOME|USER|LOGNAME|SHELL|MAIL|HOSTNAME|TMPDIR|XDG_RUNTIME_DIR|CUDA_VISIBLE_DEVICES|NVIDIA_VISIBLE_DEVICES|ROCR_VISIBLE_DEVICES|HIP_VISIBLE_DEVICES|ZE_AFFINITY_MASK|GPU_DEVICE_ORDINAL|OMP_PLACES_SLURM)$/;

/** Reads an image's configuration. Whoever made the image wrote it: what does not fit is left out. */
export function imageWords(config: JsonObject | undefined): ImageWords {
  const inner = config?.['config'];
  const words = typeof inner === 'object' && inner !== null ? (inner as Readonly<Record<string, unknown>>) : {};
  const workdir = words['WorkingDir'];
  return {
    environment: textsOf(words['Env']).slice(0, MOST_VARIABLES).flatMap(variableOf),
    workdir: typeof workdir === 'string' && workdir.startsWith('/') && !workdir.includes('\0') ? workdir : '',
    entrypoint: textsOf(words['Entrypoint']),
    command: textsOf(words['Cmd']),
  };
}

function textsOf(value: unknown): string[] {
  if (!Array.isArray(value)) return [];
  return value.filter((text): text is string => typeof text === 'string' && !text.includes('\0'));
}

function variableOf(text: string): { name: string; value: string }[] {
  const end = text.indexOf('=');
  const name = text.slice(0, Math.max(end, 0));
  const fits = text.length <= LONGEST_VARIABLE && /^[A-Za-z_][A-Za-z0-9_]*$/.test(name);
  return fits && !NOT_THE_IMAGE_S.test(name) ? [{ name, value: text.slice(end + 1) }] : [];
}

/** The image's changes to the environment: each of its values stands, save where the user keeps the one from outside. */
export function imageChanges(words: ImageWords, kept: readonly string[]): PlannedChange[] {
  const { KIND_SET, KIND_SET_IF_UNSET } = v1.EnvironmentChange.Kind;
  return words.environment.map(({ name, value }) => ({
    origin: 'image',
    message: { kind: kept.includes(name) ? KIND_SET_IF_UNSET : KIND_SET, name, value },
  }));
}

/** The user's own, which come last. */
export function userChanges({ variables }: ContainerOptions): PlannedChange[] {
  const { KIND_SET } = v1.EnvironmentChange.Kind;
  return variables.map(({ name, value }) => ({ origin: `--env ${name}`, message: { kind: KIND_SET, name, value } }));
}

/** What of a container is the same for all programs in it. */
export interface Interior {
  readonly image: ImageWords;
  /** Of the site and the modules. */
  readonly environment: readonly PlannedChange[];
  /** Namespaces behind the mount namespace. */
  readonly unshared: number;
  readonly root: boolean;
  readonly pretend: boolean;
}

/** What a container of an earlier berthd is like inside. */
export const PLAIN_INTERIOR: Interior = {
  image: { environment: [], workdir: '', entrypoint: [] },
  environment: [],
  unshared: 0,
  root: false,
  pretend: false,
};

/** All changes to a program's environment, in their order: docs/inside.md. */
export function changesFor(
  interior: Pick<Interior, 'image' | 'environment'>,
  options: ContainerOptions,
): PlannedChange[] {
  const site = interior.environment.filter(({ message }) => !options.keptVariables.includes(message.name ?? ''));
  return [...imageChanges(interior.image, options.keptVariables), ...site, ...userChanges(options)];
}

/** What a program that enters does, as it is told. */
export function interiorMessage(
  interior: Interior,
  options: ContainerOptions,
  entrypointByDefault: boolean,
): v1.Interior.$Properties {
  const { image, unshared, root, pretend } = interior;
  const entrypoint = (options.entrypoint ?? entrypointByDefault) && image.entrypoint.length > 0;
  return {
    environment: changesFor(interior, options).map(({ message }) => message),
    workdir: options.workdir ?? '',
    workdirNeeded: options.workdir !== undefined,
    fallbackWorkdir: image.workdir,
    unshared,
    root,
    pretend,
    entrypoint,
    entrypointLog: entrypoint && (options.entrypointLog ?? false),
  };
}
