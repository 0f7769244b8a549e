import { BerthError } from '../errors/index.js';
import { absolutePath } from './path.js';
import { parseSize } from './size.js';
import type { BindVolume, CacheVolume, Volume } from './types.js';

/** Volumes one container may have. Each costs some 50 µs of every cold launch. */
export const MOST_VOLUMES = 512;

/**
 * Those that berthd has to mount: as many detached mounts go to the builder at once (native/builder/spec.h). Their files are
 * opened, and made into images, before anything is built.
 */
export const MOST_PREPARED = 16;

/** The smallest xfs there is (mkfs.xfs of xfsprogs 5.19 and later), in MiB. */
const SMALLEST_XFS = 300;

/** What a third part may say of a bind mount, in the words of Pyxis (enroot), podman and mount(8). */
const BIND_FLAGS: Readonly<Record<string, Partial<BindVolume>>> = {
  ro: { readOnly: true },
  rw: { readOnly: false },
  rec: { recursive: true },
  rbind: { recursive: true },
  norec: { recursive: false },
  bind: { recursive: false },
  slave: { propagation: 'slave' },
  rslave: { propagation: 'slave' },
  private: { propagation: 'private' },
  rprivate: { propagation: 'private' },
  // As every volume is anyway.
  nosuid: {},
  nodev: {},
};

/**
 * `SRC:DST[:FLAGS]` and more, separated by commas: Pyxis's --container-mounts. A path with a comma cannot be written so;
 * --volume takes it.
 *
 * @throws BerthError as {@link parseVolume}
 */
export function parseMountList(text: string, option: string): Volume[] {
  // "perNodeCache=size=10G,fs=xfs" is one volume.
  return text.split(/,(?!(?:fs|size)=)/).map((part) => parseVolume(part, option));
}

/**
 * `SRC:DST[:FLAGS]` and more, separated by semicolons: Shifter's --volume.
 *
 * @throws BerthError as {@link parseVolume}
 */
export function parseVolumeList(text: string, option: string): Volume[] {
  return text.split(';').map((part) => parseVolume(part, option));
}

/**
 * One volume: `SRC[:DST[:FLAGS]]`, `tmpfs:DST[:size=SIZE]`, `FILE:DST:sqsh` or `DIR:DST:perNodeCache=size=SIZE[,fs=NAME]`.
 *
 * @param option what it was given to, for messages
 * @throws BerthError BERTH_VOLUME, BERTH_VOLUME_FLAG, BERTH_PATH_RELATIVE, BERTH_SIZE
 */
export function parseVolume(text: string, option: string): Volume {
  const origin = `${option}=${text}`;
  const [source = '', second, flags, ...more] = text.split(':');
  if (source === '' || second === '' || more.length > 0) {
    throw new BerthError('BERTH_VOLUME', { volume: text === '' ? '(empty)' : text, why: whyNone(more.length) });
  }
  if (source === 'tmpfs') return parseTmpfs(text, second, flags, origin);
  const destination = absolutePath(second ?? source, origin);
  const from = absolutePath(source, origin);
  const words = wordsOf(flags);
  if (words[0]?.startsWith('perNodeCache')) return parseCache(from, destination, flags ?? '', origin);
  if (words.includes('sqsh')) {
    for (const word of words) if (word !== 'sqsh' && word !== 'ro') throw flagError(word, origin, 'a squashfs volume');
    return { kind: 'squashfs', source: from, destination, origin };
  }
  return parseBind(from, destination, words, origin);
}

function whyNone(surplus: number): string {
  if (surplus > 0) return 'no path may have a colon, and flags are separated by commas, or by +';
  return 'its source, its destination or all of it is missing';
}

function parseTmpfs(text: string, second: string | undefined, flags: string | undefined, origin: string): Volume {
  if (second === undefined) {
    throw new BerthError('BERTH_VOLUME', { volume: text, why: 'a tmpfs is written tmpfs:DESTINATION[:size=SIZE]' });
  }
  const destination = absolutePath(second, origin);
  let size: number | undefined;
  for (const word of wordsOf(flags)) {
    const [, value] = /^size=(.*)$/.exec(word) ?? [];
    if (value === undefined || size !== undefined) throw flagError(word, origin, 'a tmpfs');
    size = parseSize(value, origin);
  }
  return { kind: 'tmpfs', destination, origin, ...(size === undefined ? {} : { size }) };
}

function parseBind(source: string, destination: string, words: readonly string[], origin: string): BindVolume {
  let volume: BindVolume = {
    kind: 'bind',
    source,
    destination,
    readOnly: false,
    recursive: true,
    propagation: 'slave',
    origin,
  };
  const said = new Map<string, string>();
  for (const word of words) {
    const flag = Object.hasOwn(BIND_FLAGS, word) ? BIND_FLAGS[word] : undefined;
    if (!flag) throw flagError(word, origin, 'a bind mount');
    for (const [property, value] of Object.entries(flag)) {
      const before = said.get(property);
      const same = before !== undefined && BIND_FLAGS[before]?.[property as keyof BindVolume] === value;
      if (before !== undefined && !same) throw conflict(before, word, origin);
      said.set(property, word);
    }
    volume = { ...volume, ...flag };
  }
  return volume;
}

function parseCache(source: string, destination: string, flags: string, origin: string): CacheVolume {
  const [, settings] = /^perNodeCache=(.+)$/.exec(flags) ?? [];
  if (settings === undefined) {
    throw new BerthError('BERTH_SIZE', { option: origin, value: 'none', why: 'perNodeCache=size=SIZE says how large' });
  }
  const values = new Map<string, string>();
  for (const word of settings.split(',')) {
    const [, name, value] = /^(size|fs)=(.+)$/.exec(word) ?? [];
    if (name === undefined || value === undefined || values.has(name))
      throw flagError(word, origin, 'a per-node cache');
    values.set(name, value);
  }
  const size = values.get('size');
  // The faster one for many small files and for fsync(2): docs/adr/0019.
  const filesystem = values.get('fs') ?? 'ext4';
  if (size === undefined) {
    throw new BerthError('BERTH_SIZE', { option: origin, value: 'none', why: 'perNodeCache=size=SIZE says how large' });
  }
  if (filesystem !== 'xfs' && filesystem !== 'ext4') throw flagError(`fs=${filesystem}`, origin, 'a per-node cache');
  const mebibytes = parseSize(size, origin);
  if (filesystem === 'xfs' && mebibytes < SMALLEST_XFS) {
    const why = `an xfs has at least ${SMALLEST_XFS}M; fs=ext4 may be smaller`;
    throw new BerthError('BERTH_SIZE', { option: origin, value: size, why });
  }
  return { kind: 'cache', source, destination, size: mebibytes, filesystem, origin };
}

/** Flags are separated by "+" where commas separate volumes, and by commas elsewhere. */
function wordsOf(flags: string | undefined): string[] {
  return flags === undefined || flags === '' ? [] : flags.split(/[+,]/);
}

function flagError(flag: string, origin: string, what: string): BerthError {
  const why = flag.includes('shared')
    ? 'what is mounted in a container is never seen outside'
    : `${what} has no such flag`;
  return new BerthError('BERTH_VOLUME_FLAG', { flag: flag === '' ? '(empty)' : flag, volume: origin, why });
}

function conflict(one: string, other: string, origin: string): BerthError {
  const why = `both stand in ${origin}`;
  return new BerthError('BERTH_OPTION_CONFLICT', { one: `the flag ${one}`, other: `the flag ${other}`, why });
}
