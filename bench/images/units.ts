/** Sizes and times for people. */
import { inWords, spread, type Spread } from '../spread.js';

const MEBIBYTE = 2 ** 20;

export function mebibytes(bytes: number): number {
  return bytes / MEBIBYTE;
}

/** The median of values and how they scatter, both divided by `unit`. */
export function spreadIn(unit: number, values: readonly number[]): Spread {
  return spread(values.map((value) => value / unit));
}

export function mebibytesInWords(values: readonly number[], digits = 0): string {
  return inWords(spreadIn(MEBIBYTE, values), digits);
}

/** Of milliseconds. */
export function secondsInWords(values: readonly number[], digits = 1): string {
  return inWords(spreadIn(1000, values), digits);
}
