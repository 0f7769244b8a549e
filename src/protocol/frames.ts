import { BerthError } from '../errors/index.js';

/** Bytes of a frame's length prefix: big-endian, unsigned. */
export const FRAME_HEADER = 4;

/** Longest request berthd reads, in bytes: a launch request with 4,096 supplementary groups fits. */
export const REQUEST_LIMIT = 64 * 1024;

/** Longest reply a client reads, in bytes: the list of a node with thousands of containers fits. */
export const REPLY_LIMIT = 16 * 1024 * 1024;

/** One frame, ready to be written. */
export function frame(payload: Uint8Array): Buffer {
  const bytes = Buffer.allocUnsafe(FRAME_HEADER + payload.length);
  bytes.writeUInt32BE(payload.length, 0);
  bytes.set(payload, FRAME_HEADER);
  return bytes;
}

/**
 * Cuts a byte stream into frames. Holds at most one unfinished frame, so a peer can make it keep no more than `limit`
 * bytes.
 */
export class FrameReader {
  #pending: Buffer = Buffer.alloc(0);

  constructor(private readonly limit: number) {}

  /**
   * Takes the bytes that arrived and returns the payloads of the frames they complete.
   *
   * @throws BerthError BERTH_PROTOCOL_FRAME when a frame announces more than the limit.
   */
  push(chunk: Buffer): Buffer[] {
    let bytes = this.#pending.length === 0 ? chunk : Buffer.concat([this.#pending, chunk]);
    const frames: Buffer[] = [];
    while (bytes.length >= FRAME_HEADER) {
      const length = bytes.readUInt32BE(0);
      if (length > this.limit) {
        throw new BerthError('BERTH_PROTOCOL_FRAME', {
          why: `a frame of ${length} bytes was announced where at most ${this.limit} are taken`,
        });
      }
      if (bytes.length < FRAME_HEADER + length) break;
      frames.push(bytes.subarray(FRAME_HEADER, FRAME_HEADER + length));
      bytes = bytes.subarray(FRAME_HEADER + length);
    }
    this.#pending = Buffer.from(bytes);
    return frames;
  }
}
