import { BerthError } from '../errors/index.js';

const UNITS: Readonly<Record<string, number>> = { K: 2 ** -10, M: 1, G: 2 ** 10, T: 2 ** 20 };

/**
 * Reads a size such as `512M`, `10G` or `1.5TiB`: a number and a unit, which are powers of 1024.
 *
 * @param option what it belongs to, for the message
 * @returns MiB, rounded up to a whole one
 * @throws BerthError BERTH_SIZE for what is no size, has no unit, or is nothing.
 */
export function parseSize(text: string, option: string): number {
  const [, digits, unit = ''] = /^(\d+(?:\.\d+)?)([KMGT])(?:i?B)?$/i.exec(text) ?? [];
  const factor = UNITS[unit.toUpperCase()];
  if (digits === undefined || factor === undefined)
    throw sizeError(option, text, 'a size is a number and a unit, as in 512M or 10G');
  const size = Math.ceil(Number(digits) * factor);
  if (size === 0) throw sizeError(option, text, 'there is no room in that');
  if (size > 2 ** 31) throw sizeError(option, text, 'no file system of this kind is as large as that');
  return size;
}

/**
 * @param size MiB
 * @param limit MiB
 * @param key the key of the configuration that sets the limit
 * @throws BerthError BERTH_SIZE when it is beyond the limit.
 */
export function checkSize(size: number, limit: number, key: string, option: string): void {
  if (size > limit) throw sizeError(option, showSize(size), `the site allows ${showSize(limit)} (${key})`);
}

/** As people write it: the largest unit that leaves a whole number. */
export function showSize(mebibytes: number): string {
  if (mebibytes % 2 ** 20 === 0) return `${mebibytes / 2 ** 20}T`;
  return mebibytes % 2 ** 10 === 0 ? `${mebibytes / 2 ** 10}G` : `${mebibytes}M`;
}

function sizeError(option: string, value: string, why: string): BerthError {
  return new BerthError('BERTH_SIZE', { option, value, why });
}
