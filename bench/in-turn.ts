/**
 * What is compared, in the order of one round. Every second round goes backwards, and each two begin with another one:
 * nothing always runs in the wake of the same other, and of two neither is always the first.
 */
export function inTurn<T>(items: readonly T[], round: number): readonly T[] {
  const begin = items.length === 0 ? 0 : (Math.floor(round / 2) * STRIDE) % items.length;
  const turned = [...items.slice(begin), ...items.slice(0, begin)];
  return round % 2 === 1 ? turned.reverse() : turned;
}

/** So that few rounds begin all over a long list. */
const STRIDE = 7;
