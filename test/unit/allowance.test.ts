import { expect, it } from 'vitest';
import { Allowance } from '../../src/daemon/allowance.js';

it('each user has so many a minute, whatever others take, and root any number', () => {
  const allowance = new Allowance(2);
  const taken = (uid: number, now: number): boolean[] => [1, 2, 3].map(() => allowance.take(uid, now));
  expect(taken(1000, 0)).toEqual([true, true, false]);
  expect(taken(2000, 59_999)).toEqual([true, true, false]);
  expect(taken(0, 59_999)).toEqual([true, true, true]);
  expect(allowance.take(1000, 59_999)).toBe(false);
  expect(taken(1000, 60_000)).toEqual([true, true, false]);
});
