import { getSystemErrorName } from 'node:util';
import { BerthError, errorCode, reasonOf } from '../errors/index.js';
import type { Failed } from './converter.js';

/** No blocks or no inodes left, or a quota used up. */
export function isStorageFull(error: unknown): boolean {
  const code = errorCode(error);
  return code === 'ENOSPC' || code === 'EDQUOT';
}

/** What it means that a converter could not write; undefined when the store was not to blame. */
export function conversionFailure(path: string, { blame, why, errno }: Failed): BerthError | undefined {
  if (blame !== 'storage') return undefined;
  const name = errno === undefined ? '' : getSystemErrorName(-errno);
  return new BerthError(name === 'ENOSPC' || name === 'EDQUOT' ? 'BERTH_STORE_FULL' : 'BERTH_STORE_UNUSABLE', {
    path,
    why,
  });
}

/** What a failed operation on the store's files means to its users. */
export function storeFailure(path: string, error: unknown): BerthError {
  const why = reasonOf(error);
  return new BerthError(
    isStorageFull(error) ? 'BERTH_STORE_FULL' : 'BERTH_STORE_UNUSABLE',
    { path, why },
    { cause: error },
  );
}
