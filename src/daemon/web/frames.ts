import type { Journal } from '../../events/index.js';

/** Bytes of messages that are written to a reader in one turn. */
const MOST_BYTES = 32 * 1024;

/** Places for which messages are kept ready. Nearly all readers are at the newest, or were when a slice of them ended. */
const MOST_CHUNKS = 16;

/** RFC 6455: a whole text message; and where its length follows in two, or in eight bytes. */
const TEXT = 0x81;
const TWO_BYTES = 126;
const EIGHT_BYTES = 127;

/** One text message of a server, as it goes over the wire. */
export function frameText(text: string): Buffer {
  const length = Buffer.byteLength(text);
  const header = length < TWO_BYTES ? 2 : length < 0x10000 ? 4 : 10;
  const bytes = Buffer.allocUnsafe(header + length);
  bytes[0] = TEXT;
  bytes[1] = header === 2 ? length : header === 4 ? TWO_BYTES : EIGHT_BYTES;
  if (header === 4) bytes.writeUInt16BE(length, 2);
  if (header === 10) bytes.writeBigUInt64BE(BigInt(length), 2);
  bytes.write(text, header);
  return bytes;
}

/** Messages for readers who have come to the same place. */
export interface Chunk {
  readonly bytes: Buffer;
  /** Where they are then. */
  readonly next: number;
}

/** Makes what a thousand readers are told once. It is kept until there is more to tell, for few places at a time. */
export class SharedFrames {
  readonly #chunks = new Map<number, Chunk>();
  #newest = 0;

  constructor(private readonly journal: Journal) {}

  /** What comes from this place on; undefined when nothing does. */
  from(position: number): Chunk | undefined {
    const { ring } = this.journal;
    if (this.#newest !== ring.next) this.#chunks.clear();
    this.#newest = ring.next;
    const known = this.#chunks.get(position);
    if (known) return known;
    const chunk = this.#make(position);
    if (!chunk) return undefined;
    const [oldest] = this.#chunks.size === MOST_CHUNKS ? this.#chunks.keys() : [];
    if (oldest !== undefined) this.#chunks.delete(oldest);
    this.#chunks.set(position, chunk);
    return chunk;
  }

  #make(position: number): Chunk | undefined {
    const frames: Buffer[] = [];
    let bytes = 0;
    let next = position;
    for (let entry = this.journal.ring.at(next); entry && bytes < MOST_BYTES; entry = this.journal.ring.at(next)) {
      const frame = frameText(entry.text);
      frames.push(frame);
      bytes += frame.length;
      next++;
    }
    return next === position ? undefined : { bytes: Buffer.concat(frames), next };
  }
}
