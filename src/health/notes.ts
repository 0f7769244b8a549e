import { readFileSync, statSync } from 'node:fs';

/** native/note.c */
const MARK = Buffer.from('\nberth installation note');
const VERSION_BYTES = 24;

/** What an executable or shared object of Berth's says of itself. */
export interface Note {
  readonly version: string;
  /** "22.05" for the plugin; empty for the rest. */
  readonly slurm: string;
}

const known = new Map<string, { readonly stamp: string; readonly note: Note | undefined }>();

/**
 * The note of a file, which is read anew only when it has changed. Undefined when it has none.
 *
 * @throws an error of node:fs when the file is not there.
 */
export function noteOf(path: string): Note | undefined {
  const { ino, mtimeMs, size } = statSync(path);
  const stamp = `${ino} ${mtimeMs} ${size}`;
  const earlier = known.get(path);
  if (earlier?.stamp === stamp) return earlier.note;
  const note = find(readFileSync(path));
  known.set(path, { stamp, note });
  return note;
}

function find(bytes: Buffer): Note | undefined {
  const at = bytes.indexOf(MARK);
  if (at < 0) return undefined;
  const end = at + MARK.length;
  const version = bytes.toString('latin1', end, end + VERSION_BYTES).replace(/\0.*$/s, '');
  return { version, slurm: slurmRelease(bytes.readUInt32LE(end + VERSION_BYTES)) };
}

/** SLURM_VERSION_NUM (slurm_version.h): major, minor and micro, a byte each. */
function slurmRelease(number: number): string {
  if (number === 0) return '';
  return `${number >> 16}.${String((number >> 8) & 0xff).padStart(2, '0')}`;
}
