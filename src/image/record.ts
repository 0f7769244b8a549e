import { BerthError } from '../errors/index.js';

/** What the store knows of an image under one of its names. */
export interface ImageRecord {
  /** With the tag, e.g. "debian:12". Under a digest it is the name the image was imported with. */
  readonly name: string;
  /** "sha256:" and the SHA-256 of the image file, in hexadecimal. */
  readonly digest: string;
  /** Of the image file, in bytes. */
  readonly size: number;
  /** When this name was given to it: seconds since the epoch. */
  readonly created: number;
  /** Where it came from, in the importing user's words. */
  readonly source: string;
  /** Who may use it: everyone, or the user with this uid. */
  readonly owner: 'site' | number;
  readonly format: 'squashfs';
}

export function formatRecord(record: ImageRecord): string {
  return `${JSON.stringify(record, undefined, 2)}\n`;
}

/**
 * Reads what {@link formatRecord} wrote.
 *
 * @throws BerthError BERTH_IMAGE_DAMAGED; `name` and `path` are what it says is damaged.
 */
export function parseRecord(text: string, name: string, path: string): ImageRecord {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    value = undefined;
  }
  if (isRecord(value)) return value;
  throw new BerthError('BERTH_IMAGE_DAMAGED', { name, why: `${path} does not hold what berthd wrote there` });
}

function isRecord(value: unknown): value is ImageRecord {
  if (typeof value !== 'object' || value === null) return false;
  const fields = value as Partial<Record<keyof ImageRecord, unknown>>;
  return (
    typeof fields.name === 'string' &&
    typeof fields.digest === 'string' &&
    /^sha256:[0-9a-f]{64}$/.test(fields.digest) &&
    isCount(fields.size) &&
    isCount(fields.created) &&
    typeof fields.source === 'string' &&
    (fields.owner === 'site' || isCount(fields.owner)) &&
    fields.format === 'squashfs'
  );
}

function isCount(value: unknown): value is number {
  return typeof value === 'number' && Number.isSafeInteger(value) && value >= 0;
}
