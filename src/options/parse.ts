import { BerthError } from '../errors/index.js';
import type { v1 } from '../protocol/index.js';
import { absolutePath } from './path.js';
import { parseSize } from './size.js';
import type { ContainerName, ContainerOptions, Unshared, Variable, Volume, Writable } from './types.js';
import { MOST_PREPARED, MOST_VOLUMES, parseMountList, parseVolume, parseVolumeList } from './volumes.js';

/** An option as the user wrote it. */
export interface WrittenOption {
  /** What srun calls it, without the dashes. */
  readonly name: string;
  /** Empty for one without a value. */
  readonly value: string;
}

/** A name for things that people call by it: a container, a module. */
const NAME = /^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$/;

/** What the environment of a process can have (environ(7)), of which shells know but a part. */
const VARIABLE = /^[^=\0\p{Cc}]+$/u;

/** {@link ContainerOptions} as they come to be. */
type Draft = { -readonly [K in keyof ContainerOptions]: ContainerOptions[K] };

interface Reader {
  /** What it is about: two spellings of the same cannot be given at once. */
  readonly thing: string;
  /** May it be given more than once? */
  readonly repeats?: boolean;
  readonly read: (value: string, draft: Draft, option: string) => void;
}

/** Every option there is, in every spelling. */
const readers: Readonly<Record<string, Reader>> = {
  'container-mounts': volumes(parseMountList),
  volume: volumes(parseVolumeList),
  // One of a container definition file, or of `berth run --volume`: it may stand beside the others.
  mount: {
    thing: 'mount',
    repeats: true,
    // Nobody has written an option of this name.
    read: (value, draft) => (draft.volumes = [...draft.volumes, parseVolume(value, 'mount')]),
  },
  'container-workdir': {
    thing: 'workdir',
    read: (value, draft, option) => (draft.workdir = absolutePath(value, option)),
  },
  'container-name': { thing: 'name', read: (value, draft) => (draft.name = parseName(value)) },
  'container-save': { thing: 'save', read: (value, draft, option) => (draft.save = parseFile(value, option)) },
  'container-mount-home': flag('mountHome', true),
  'no-container-mount-home': flag('mountHome', false),
  'container-remap-root': flag('remapRoot', true),
  'no-container-remap-root': flag('remapRoot', false),
  'container-entrypoint': flag('entrypoint', true),
  'no-container-entrypoint': flag('entrypoint', false),
  'container-entrypoint-log': flag('entrypointLog', true),
  'container-writable': {
    thing: 'writable',
    read: (value, draft, option) => (draft.writable = parseWritable(value, option)),
  },
  'container-readonly': flag('writable', false),
  'container-env': {
    thing: 'container-env',
    repeats: true,
    read: (value, draft, option) => (draft.keptVariables = [...draft.keptVariables, ...parseNames(value, option)]),
  },
  env: {
    thing: 'env',
    repeats: true,
    read: (value, draft, option) => (draft.variables = [...draft.variables, parseVariable(value, option)]),
  },
  'container-unshare': { thing: 'unshare', read: (value, draft) => (draft.unshare = parseUnshared(value)) },
  module: {
    thing: 'module',
    repeats: true,
    read: (value, draft, option) => (draft.modules = addModules(draft.modules, value, option)),
  },
};

/**
 * Reads options as srun, `berth run` and the others pass them on. What they mean is decided here alone.
 *
 * @throws BerthError BERTH_OPTION, BERTH_OPTION_UNKNOWN, BERTH_OPTION_CONFLICT, BERTH_VOLUME, BERTH_VOLUME_FLAG,
 * BERTH_VOLUME_DUPLICATE, BERTH_PATH_RELATIVE, BERTH_SIZE.
 */
export function parseOptions(written: readonly WrittenOption[]): ContainerOptions {
  const draft: Draft = { volumes: [], keptVariables: [], variables: [], unshare: [] };
  const seen = new Map<string, WrittenOption>();
  for (const option of written) {
    const reader = Object.hasOwn(readers, option.name) ? readers[option.name] : undefined;
    if (!reader) {
      throw new BerthError('BERTH_OPTION_UNKNOWN', {
        option: `--${option.name}`,
        why: 'this berthd has no such option: it may be older than the plugin or the command',
      });
    }
    checkSpelling(option, seen.get(reader.thing), reader);
    seen.set(reader.thing, option);
    reader.read(option.value, draft, `--${option.name}`);
  }
  checkDestinations(draft.volumes);
  checkTogether(draft);
  return draft;
}

/** Do these options speak of the same thing, of which there can be but one? */
export function excludeEachOther(one: string, other: string): boolean {
  const [first, second] = [one, other].map((name) => (Object.hasOwn(readers, name) ? readers[name] : undefined));
  return first !== undefined && first.thing === second?.thing && first.repeats !== true;
}

/** What each program can have its own way in a container that it shares with others. */
const OF_PROGRAMS: readonly string[] = [
  'container-workdir',
  'container-save',
  'container-entrypoint-log',
  'container-env',
  'env',
];

/** What the key of a named container begins with. */
export const NAMED = 'name=';

/** What launches into one container have in common; the same whatever the order of different options. */
export function optionsKey(written: readonly WrittenOption[]): string {
  const named = written.find(({ name }) => name === 'container-name');
  if (named) return `${NAMED}${parseName(named.value).name}`;
  const given = (name: string): boolean => written.some((option) => option.name === name);
  // What is to be saved is to be written.
  const implied =
    given('container-save') && !given('container-writable') ? [{ name: 'container-writable', value: '' }] : [];
  const all = [...written, ...implied];
  const names = new Set(all.map(({ name }) => name).filter((name) => !OF_PROGRAMS.includes(name)));
  const valuesOf = (name: string): string[] => all.filter((option) => option.name === name).map(({ value }) => value);
  return [...names]
    .sort()
    .map((name) => JSON.stringify([name, ...valuesOf(name)]))
    .join('');
}

/** What the programs of one launch want their own way in a container that they share with others. */
function programsKey(written: readonly WrittenOption[]): string {
  const own = written.filter(({ name }) => OF_PROGRAMS.includes(name) && name !== 'container-save');
  return own.length === 0 ? '' : JSON.stringify(own.map(({ name, value }) => [name, value]));
}

/** Options as a launch needs them. */
export interface AskedFor {
  readonly options: ContainerOptions;
  /** What launches into one container have in common; the same whatever the order of different options. */
  readonly optionsKey: string;
  /** The same where programs start in the same way. */
  readonly programsKey: string;
  /** What says what the container itself is like, its name aside: each option as it is written. */
  readonly shape: readonly string[];
}

/** @throws BerthError as {@link parseOptions} */
export function askedFor(written: readonly WrittenOption[]): AskedFor {
  return {
    options: parseOptions(written),
    optionsKey: optionsKey(written),
    programsKey: programsKey(written),
    shape: shapeOf(written),
  };
}

function shapeOf(written: readonly WrittenOption[]): string[] {
  return written
    .filter(({ name }) => ![...OF_PROGRAMS, 'container-name', 'container-save'].includes(name))
    .map(({ name, value }) => (value === '' ? `--${name}` : `--${name}=${value}`));
}

export const NOTHING_ASKED_FOR = askedFor([]);

export function writtenOption({ name, value }: v1.Option.$Properties): WrittenOption {
  return { name: name ?? '', value: value ?? '' };
}

function checkSpelling(option: WrittenOption, before: WrittenOption | undefined, { repeats }: Reader): void {
  if (!before) return;
  if (before.name !== option.name) {
    const why = 'they are about one thing, and only one of them can be meant';
    throw new BerthError('BERTH_OPTION_CONFLICT', { one: `--${before.name}`, other: `--${option.name}`, why });
  }
  if (repeats || before.value === option.value) return;
  const why = `it was given ${before.value} too, and takes one value`;
  throw new BerthError('BERTH_OPTION', { option: `--${option.name}`, value: option.value, why });
}

function checkDestinations(all: readonly Volume[]): void {
  const prepared = all.filter(({ kind }) => kind === 'squashfs' || kind === 'cache');
  checkCount(all.length, MOST_VOLUMES, 'volumes');
  checkCount(prepared.length, MOST_PREPARED, 'squashfs files and caches');
  const taken = new Map<string, Volume>();
  for (const volume of all) {
    const other = taken.get(volume.destination);
    if (other) {
      const why = `${other.origin} and ${volume.origin}`;
      throw new BerthError('BERTH_VOLUME_DUPLICATE', { path: volume.destination, why });
    }
    taken.set(volume.destination, volume);
  }
}

function checkCount(count: number, most: number, what: string): void {
  if (count <= most) return;
  const why = `a container has at most ${most} of them`;
  throw new BerthError('BERTH_OPTION', { option: '--volume', value: `${count} ${what}`, why });
}

function checkTogether({ entrypoint, entrypointLog, writable, save }: Draft): void {
  const conflict = (one: string, other: string, why: string): never => {
    throw new BerthError('BERTH_OPTION_CONFLICT', { one, other, why });
  };
  if (entrypointLog && entrypoint === false) {
    conflict('--container-entrypoint-log', '--no-container-entrypoint', 'an entrypoint that is not run prints nothing');
  }
  if (save !== undefined && writable === false) {
    conflict('--container-save', '--container-readonly', 'nothing can be changed in a container that is read-only');
  }
}

function volumes(parse: (text: string, option: string) => Volume[]): Reader {
  return {
    thing: 'volumes',
    repeats: true,
    read: (value, draft, option) => (draft.volumes = [...draft.volumes, ...parse(value, option)]),
  };
}

function flag<K extends 'mountHome' | 'remapRoot' | 'entrypoint' | 'entrypointLog' | 'writable'>(
  key: K,
  stands: NonNullable<Draft[K]>,
): Reader {
  return {
    thing: key,
    read: (value, draft, option) => {
      if (value !== '') throw new BerthError('BERTH_OPTION', { option, value, why: 'it takes no value' });
      draft[key] = stands;
    },
  };
}

function parseName(text: string): ContainerName {
  const [name = '', mode = 'auto', ...more] = text.split(':');
  if (!NAME.test(name) || more.length > 0) {
    const why = 'a name has letters, digits, "_", "." and "-", begins with a letter or digit, and is at most 64 long';
    throw new BerthError('BERTH_OPTION', { option: '--container-name', value: text, why });
  }
  if (mode !== 'auto' && mode !== 'create' && mode !== 'exec' && mode !== 'no_exec') {
    const why = 'behind a name stands auto, create, exec or no_exec';
    throw new BerthError('BERTH_OPTION', { option: '--container-name', value: text, why });
  }
  return { name, mode };
}

function parseWritable(value: string, option: string): Writable {
  if (value === '') return {};
  if (value.startsWith('/')) return { directory: absolutePath(value, option) };
  if (/^\d/.test(value)) return { size: parseSize(value, option) };
  const why = 'it takes a size, as in 2G, or a directory, whose whole path begins with /';
  throw new BerthError('BERTH_OPTION', { option, value, why });
}

/** A directory would be refused when the job has done its work, and then what was to be saved is lost. */
function parseFile(value: string, option: string): string {
  if (!value.endsWith('/')) return absolutePath(value, option);
  throw new BerthError('BERTH_OPTION', {
    option,
    value,
    why: 'it takes the name of a file, which does not end with /',
  });
}

function parseNames(value: string, option: string): string[] {
  return value.split(',').map((name) => {
    if (VARIABLE.test(name) && !name.includes(' ')) return name;
    throw new BerthError('BERTH_OPTION', { option, value, why: 'it takes names of variables, separated by commas' });
  });
}

/** NAME=VALUE; a name alone stands for the variable of whoever gives the option, which the command looks up. */
function parseVariable(value: string, option: string): Variable {
  const end = value.indexOf('=');
  const name = value.slice(0, Math.max(end, 0));
  if (!VARIABLE.test(name) || value.includes('\0')) {
    throw new BerthError('BERTH_OPTION', { option, value, why: 'it takes NAME=VALUE' });
  }
  return { name, value: value.slice(end + 1) };
}

function parseUnshared(value: string): Unshared[] {
  const words = value.split(',');
  return words.map((word, i) => {
    const known = word === 'net' || word === 'ipc' || word === 'uts';
    if (known && words.indexOf(word) === i) return word;
    const why = known ? `${word} stands there twice` : 'it takes net, ipc and uts, separated by commas';
    throw new BerthError('BERTH_OPTION', { option: '--container-unshare', value, why });
  });
}

function addModules(before: Draft['modules'], value: string, option: string): 'none' | string[] {
  const names = value.split(',');
  if (value === 'none' && (before === undefined || before === 'none')) return 'none';
  if (names.includes('none') || before === 'none') {
    const why = '"none" is for no module at all: it cannot stand beside others';
    throw new BerthError('BERTH_OPTION', { option, value, why });
  }
  for (const name of names) {
    if (NAME.test(name)) continue;
    throw new BerthError('BERTH_OPTION', { option, value, why: 'it takes names of modules, separated by commas' });
  }
  return [...new Set([...(before ?? []), ...names])];
}
