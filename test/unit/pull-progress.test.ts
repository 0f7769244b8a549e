import { describe, expect, it } from 'vitest';
import { describeProgress, parseProgress } from '../../src/launch/pull-progress.js';

describe('a line of `berth pull --progress=json`', () => {
  it('says how far the pull is', () => {
    const line =
      '{"event":"progress","phase":"fetching","received":34000000,"size":80000000,"bytesPerSecond":12000000,"secondsLeft":4,"blobs":[]}';
    expect(describeProgress(parseProgress(line))).toBe('34 of 80 MB, 12 MB/s, 4 s left');
  });

  it('says who else is pulling', () => {
    const line =
      '{"event":"progress","phase":"waiting","who":"bob on n2","received":1500,"size":2000,"secondsLeft":null}';
    expect(describeProgress(parseProgress(line))).toBe('bob on n2 pulls it, 1.5 of 2.0 kB');
  });

  it('says who else is pulling before anything has come', () => {
    const line = '{"event":"progress","phase":"waiting","who":"bob on n2","received":0,"size":0}';
    expect(describeProgress(parseProgress(line))).toBe('bob on n2 pulls it');
  });

  it('says when all is there', () => {
    const line = '{"event":"progress","phase":"converting","received":7000000000,"size":7000000000}';
    expect(describeProgress(parseProgress(line))).toBe('7.0 GB are here, the image is being put together');
  });

  it.each(['', 'no JSON', '[]', 'null', '7', '{"event":"start","size":7}', '{"received":-1,"size":2}'])(
    'that is %j says nothing of it',
    (line) => {
      expect(describeProgress(parseProgress(line))).toBe('');
    },
  );

  it.each([
    [1, '1 s'],
    [59.2, '60 s'],
    [90, '2 min'],
    [7200, '2 h'],
  ])('%d seconds are %s', (secondsLeft, text) => {
    expect(describeProgress(parseProgress(JSON.stringify({ received: 0, size: 999, secondsLeft })))).toBe(
      `0 of 999 B, ${text} left`,
    );
  });
});
