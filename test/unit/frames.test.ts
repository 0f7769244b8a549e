import { describe, expect, it } from 'vitest';
import { frame, FrameReader, REPLY_LIMIT, REQUEST_LIMIT } from '../../src/protocol/index.js';

const texts = (frames: readonly Buffer[]): string[] => frames.map((bytes) => bytes.toString());

/** The header of a frame that announces so many bytes. */
function header(length: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(length);
  return bytes;
}

describe('a frame', () => {
  it('is a big-endian length and the payload', () => {
    expect([...frame(Buffer.from('abc'))]).toEqual([0, 0, 0, 3, 0x61, 0x62, 0x63]);
    expect([...frame(new Uint8Array(0))]).toEqual([0, 0, 0, 0]);
  });
});

describe('a reader of frames', () => {
  it('gives each frame once, in order, however they were joined', () => {
    const reader = new FrameReader(100);
    expect(texts(reader.push(Buffer.concat(['one', '', 'three'].map((text) => frame(Buffer.from(text))))))).toEqual([
      'one',
      '',
      'three',
    ]);
    expect(reader.push(Buffer.alloc(0))).toEqual([]);
  });

  it('puts frames together, at whatever byte they were split', () => {
    const stream = Buffer.concat([frame(Buffer.from('one')), frame(Buffer.alloc(0)), frame(Buffer.from('three'))]);
    for (let first = 0; first <= stream.length; first++) {
      for (let second = first; second <= stream.length; second++) {
        const reader = new FrameReader(100);
        const parts = [stream.subarray(0, first), stream.subarray(first, second), stream.subarray(second)];
        expect(texts(parts.flatMap((part) => reader.push(part)))).toEqual(['one', '', 'three']);
      }
    }
  });

  it('puts frames together that come byte by byte', () => {
    const reader = new FrameReader(100);
    const stream = [...frame(Buffer.from('one')), ...frame(Buffer.from('two'))];
    expect(texts(stream.flatMap((byte) => reader.push(Buffer.from([byte]))))).toEqual(['one', 'two']);
  });

  it('keeps what it has of a frame although the chunk is used again', () => {
    const reader = new FrameReader(100);
    const chunk = Buffer.from(frame(Buffer.from('one')).subarray(0, 5));
    expect(reader.push(chunk)).toEqual([]);
    chunk.fill(0xff);
    expect(texts(reader.push(Buffer.from('ne')))).toEqual(['one']);
  });

  it('takes a frame as long as the limit and refuses a longer one by its header alone', () => {
    expect(new FrameReader(10).push(frame(Buffer.alloc(10)))).toHaveLength(1);
    expect(() => new FrameReader(10).push(header(11))).toThrow(
      expect.objectContaining({
        code: 'BERTH_PROTOCOL_FRAME',
        why: 'a frame of 11 bytes was announced where at most 10 are taken',
      }) as Error,
    );
    expect(() => new FrameReader(REQUEST_LIMIT).push(header(0xffff_ffff))).toThrow(/4294967295/);
  });

  it('refuses a long frame behind a good one', () => {
    expect(() => new FrameReader(10).push(Buffer.concat([frame(Buffer.from('one')), header(11)]))).toThrow(/11 bytes/);
  });

  it('has room for the longest messages there are', () => {
    expect(REQUEST_LIMIT).toBe(64 * 1024);
    expect(REPLY_LIMIT).toBe(16 * 1024 * 1024);
  });
});
