import { readFileSync } from 'node:fs';
import { hostname } from 'node:os';
import { describe, expect, it } from 'vitest';
import { BerthError } from '../../src/errors/index.js';
import {
  decodeReply,
  decodeRequest,
  encodeError,
  encodeReply,
  encodeRequest,
  PROTOCOL,
  REQUEST_LIMIT,
  v1,
  version,
} from '../../src/protocol/index.js';

const plain = { code: 'BERTH_IMAGE_UNKNOWN', exitStatus: 3, what: 'what', why: 'why', hint: 'hint' };

describe('a request', () => {
  it('carries the version of protocol and software, and what is asked', () => {
    const request = decodeRequest(encodeRequest({ jobEnd: { jobId: 7 } }));
    expect(request).toMatchObject({ protocol: PROTOCOL, version, jobEnd: { jobId: 7 } });
  });

  it('to launch for a user in 4,096 groups fits in a frame', () => {
    const gids = Array.from({ length: 4096 }, (_, i) => 4_000_000_000 + i);
    const bytes = encodeRequest({ launch: { jobId: 1, gids, image: 'x'.repeat(511), spoolDir: 'y'.repeat(1023) } });
    expect(bytes.length).toBeLessThan(REQUEST_LIMIT);
    expect(decodeRequest(bytes).launch?.gids).toEqual(gids);
  });

  it('keeps numbers of 32 bits as they are', () => {
    const launch = { jobId: 0xffff_ffff, stepId: 0xffff_fffb, uid: 0xffff_fffe, originMntns: 0xffff_fffc };
    expect(decodeRequest(encodeRequest({ launch })).launch).toMatchObject({
      jobId: 0xffff_ffff,
      stepId: 0xffff_fffb,
      uid: 0xffff_fffe,
    });
  });

  it.each([0, 2, 99])('of protocol %d is refused with both versions', (protocol) => {
    const bytes = v1.Request.encode({ protocol, version: '9.9.9' }).finish();
    expect(() => decodeRequest(bytes)).toThrow(
      expect.objectContaining({
        code: 'BERTH_PROTOCOL_VERSION',
        why: `the client is version 9.9.9 (protocol ${protocol}), berthd on ${hostname()} is version ${version} (protocol ${PROTOCOL})`,
      }) as Error,
    );
  });

  it('that does not say its version is refused, too', () => {
    expect(() => decodeRequest(new Uint8Array(0))).toThrow(
      expect.objectContaining({
        code: 'BERTH_PROTOCOL_VERSION',
        why: expect.stringContaining('version unknown') as string,
      }) as Error,
    );
  });

  it.each([
    ['bytes that are no message', Buffer.from([0xff, 0xff, 0xff, 0xff])],
    ['a message cut off', encodeRequest({ launch: { image: 'debian' } }).subarray(0, -3)],
    ['a field longer than the message', Buffer.from([0x08, 1, 0x12, 0x7f, 0x61])],
  ])('is refused as a frame where it is %s', (_, bytes) => {
    expect(() => decodeRequest(bytes)).toThrow(expect.objectContaining({ code: 'BERTH_PROTOCOL_FRAME' }) as Error);
  });

  it('with a field of a later version keeps its meaning', () => {
    const later = Buffer.concat([encodeRequest({ list: { timeline: true } }), Buffer.from([0xf8, 0x07, 5])]);
    expect(decodeRequest(later).list).toMatchObject({ timeline: true });
  });
});

describe('a reply', () => {
  it('carries what was asked for', () => {
    const reply = decodeReply(
      encodeReply({ launch: { containerId: 'abc', userNamespace: true, originMntns: 4_026_531_840 } }),
    );
    expect(reply.launch).toMatchObject({ containerId: 'abc', userNamespace: true, originMntns: 4_026_531_840 });
  });

  it('of another version is refused with both versions', () => {
    const bytes = v1.Reply.encode({ protocol: 99, version: '9.9.9' }).finish();
    expect(() => decodeReply(bytes)).toThrow(
      expect.objectContaining({
        code: 'BERTH_PROTOCOL_VERSION',
        why: expect.stringContaining(`the client is version ${version} (protocol ${PROTOCOL})`) as string,
      }) as Error,
    );
  });

  it('with an error is understood whatever its version: that is how versions tell each other', () => {
    const bytes = v1.Reply.encode({ protocol: 99, error: plain }).finish();
    expect(decodeReply(bytes).error).toMatchObject(plain);
  });

  it('that cannot be read is refused as a frame', () => {
    expect(() => decodeReply(Buffer.from([0xff]))).toThrow(
      expect.objectContaining({ code: 'BERTH_PROTOCOL_FRAME' }) as Error,
    );
  });
});

describe('an error on the wire', () => {
  /** The bounds in proto/berth.options count the NUL that ends a string in C. */
  const bounds = Object.fromEntries(
    [
      ...readFileSync(new URL('../../proto/berth.options', import.meta.url), 'utf8').matchAll(
        /^berth\.v1\.Error\.(\w+) max_size:(\d+)$/gm,
      ),
    ].map(([, field = '', size]) => [field, Number(size) - 1]),
  );

  it('keeps its code, exit status and three sentences', () => {
    expect(decodeReply(encodeError(plain)).error).toMatchObject(plain);
    const thrown = new BerthError('BERTH_JOB_ENDED', { job: 7, host: 'n1' });
    expect(decodeReply(encodeError(thrown)).error).toMatchObject({
      code: 'BERTH_JOB_ENDED',
      exitStatus: 3,
      what: 'job 7 has ended on n1',
    });
  });

  it.each(['code', 'what', 'why', 'hint'] as const)('has a %s that fits what C reads it into', (field) => {
    const bound = bounds[field] ?? 0;
    expect(bound).toBeGreaterThan(0);
    const exact = decodeReply(encodeError({ ...plain, [field]: 'x'.repeat(bound) })).error?.[field];
    expect(exact).toBe('x'.repeat(bound));
    expect(decodeReply(encodeError({ ...plain, [field]: 'x'.repeat(bound + 1) })).error?.[field]).toBe(
      'x'.repeat(bound),
    );
  });

  it.each(['é', '€', '😀'])('is cut between characters, never inside one: %s', (character) => {
    const size = Buffer.byteLength(character);
    for (let shift = 0; shift < size; shift++) {
      const prefix = 'x'.repeat(shift);
      const why = decodeReply(encodeError({ ...plain, why: prefix + character.repeat(1000) })).error?.why ?? '';
      const kept = Math.floor(((bounds['why'] ?? 0) - shift) / size);
      expect(why).toBe(prefix + character.repeat(kept));
    }
  });

  it('never holds what would steer a terminal', () => {
    const error = new BerthError('BERTH_IMAGE_UNKNOWN', {
      name: '\x1b]0;x\x07\n\u009b31m',
      user: 'u',
      host: 'h',
      near: '',
    });
    const what = decodeReply(encodeError(error)).error?.what ?? '';
    expect(what).toContain('\\x1b]0;x\\x07\\x0a\\x9b31m');
    expect(what).not.toMatch(/\p{Cc}/u);
  });
});
