import { beforeEach, describe, expect, it } from 'vitest';
import { Patience } from '../../src/daemon/patience.js';

const MIB = 1024 * 1024;
const alice = 1000;
const bob = 1001;

let patience: Patience;
beforeEach(() => {
  patience = new Patience(alice);
});

/** Does she still wait after so many seconds of a pull that makes so much in each? */
function waits(uid: number, bytesPerSecond: number, seconds: number): boolean {
  for (let second = 0; second <= seconds; second++) {
    if (patience.isOver(second * bytesPerSecond, uid, second * 1000)) return false;
  }
  return true;
}

describe('a pull waits for', () => {
  it.each([
    ['one of the same user, however slow', alice, MIB / 30],
    ["root's, however slow", 0, MIB / 30],
    ["another user's at the speed of a network", bob, 5 * MIB],
  ])('%s', (_, uid, speed) => {
    expect(waits(uid, speed, 3600)).toBe(true);
  });

  it.each([
    ['one that makes nothing', alice, 0],
    ["another user's that makes just something: they could keep an image from a whole site", bob, MIB],
  ])('no longer than a minute for %s', (_, uid, speed) => {
    expect(waits(uid, speed, 60)).toBe(true);
    expect(patience.isOver(61 * speed, uid, 61_000)).toBe(true);
  });
});

it('a pull waits no longer for many who take turns at making nothing than for one', () => {
  for (let turn = 0; turn < 4; turn++) expect(patience.isOver(0, bob + turn, turn * 20_000)).toBe(false);
  expect(patience.isOver(0, bob + 4, 80_000)).toBe(true);
});
