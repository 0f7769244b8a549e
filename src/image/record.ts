import { BerthError } from '../errors/index.js';
import { isDigest } from './digest.js';

/** Who may use an image under one of its names, besides its owner. */
export interface Access {
  readonly everyone: boolean;
  readonly uids: readonly number[];
  readonly gids: readonly number[];
}

/** JSON whose members are not berthd's business. */
export type JsonObject = Readonly<Record<string, unknown>>;

/** What the store knows of an image under one of its names. */
export interface ImageRecord {
  /** With the tag, e.g. "debian:12". Under a digest it is the name the image got last, or the digest itself. */
  readonly name: string;
  /** "sha256:" and the SHA-256 of the image file, in hexadecimal. */
  readonly digest: string;
  /** Of the image file, in bytes. */
  readonly size: number;
  /** When this name was given to it: seconds since the epoch. */
  readonly created: number;
  /** Where it came from, in the importing user's words. */
  readonly source: string;
  /** Whose it is: everyone's, or the user's with this uid. */
  readonly owner: 'site' | number;
  readonly format: 'squashfs';
  /** Of an image from a registry: the digest of its manifest, and of the index that this was chosen from. */
  readonly manifest?: string;
  readonly index?: string;
  /** OS/ARCHITECTURE[/VARIANT] */
  readonly platform?: string;
  /** Without it, the site's images are everyone's and a user's are that user's alone. */
  readonly access?: Access;
  /** Digests of the blobs it was made of, the lowest first. */
  readonly layers?: readonly string[];
  /** The image's configuration as the OCI image specification has it; at most {@link CONFIG_LIMIT} bytes as JSON. */
  readonly config?: JsonObject;
}

/** Longest configuration that is kept in a record, in bytes of JSON: a launch reads it. */
export const CONFIG_LIMIT = 256 * 1024;

/** More users or groups than this are no list that anybody keeps: a group is what such a site has. */
const MOST_IN_LIST = 1024;

/** How much of where an image came from is kept, in characters: a long path. */
const SOURCE_LIMIT = 4096;

export function cutSource(source: string): string {
  return source.slice(0, SOURCE_LIMIT);
}

/** In one line: indented, a configuration of a few kilobytes that is nested deeply would take gigabytes. */
export function formatRecord(record: ImageRecord): string {
  return `${JSON.stringify(record)}\n`;
}

/**
 * Reads what {@link formatRecord} wrote.
 *
 * @throws BerthError BERTH_IMAGE_DAMAGED; `name` and `path` are what it says is damaged.
 */
export function parseRecord(text: string, name: string, path: string): ImageRecord {
  const value = parseJson(text);
  if (isRecord(value)) return value;
  throw new BerthError('BERTH_IMAGE_DAMAGED', { name, why: `${path} does not hold what berthd wrote there` });
}

/** The text as JSON; undefined where it is none. */
export function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

export function isJsonObject(value: unknown): value is JsonObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** A number that counts something: whole, not negative, and exact. */
export function isCount(value: unknown): value is number {
  return typeof value === 'number' && Number.isSafeInteger(value) && value >= 0;
}

function isRecord(value: unknown): value is ImageRecord {
  if (!isJsonObject(value)) return false;
  const fields: Partial<Record<keyof ImageRecord, unknown>> = value;
  return (
    typeof fields.name === 'string' &&
    isDigestText(fields.digest) &&
    isCount(fields.size) &&
    isCount(fields.created) &&
    typeof fields.source === 'string' &&
    (fields.owner === 'site' || isCount(fields.owner)) &&
    fields.format === 'squashfs' &&
    isAbsentOr(fields.manifest, isDigestText) &&
    isAbsentOr(fields.index, isDigestText) &&
    isAbsentOr(fields.platform, (platform) => typeof platform === 'string') &&
    isAbsentOr(fields.access, isAccess) &&
    isAbsentOr(fields.layers, (layers) => Array.isArray(layers) && layers.every(isDigestText)) &&
    isAbsentOr(fields.config, isJsonObject)
  );
}

function isAccess(value: unknown): boolean {
  if (!isJsonObject(value)) return false;
  const { everyone, uids, gids } = value;
  return typeof everyone === 'boolean' && isListOfIds(uids) && isListOfIds(gids);
}

/** User or group numbers, and no more of them than a record may have. */
export function isListOfIds(value: unknown): value is number[] {
  return Array.isArray(value) && value.length <= MOST_IN_LIST && value.every(isCount);
}

/** User numbers, however many. */
export function isListOfUids(value: unknown): value is number[] {
  return Array.isArray(value) && value.every(isCount);
}

function isAbsentOr(value: unknown, holds: (value: unknown) => boolean): boolean {
  return value === undefined || holds(value);
}

function isDigestText(value: unknown): value is string {
  return typeof value === 'string' && isDigest(value);
}
