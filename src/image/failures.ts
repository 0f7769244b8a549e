import { BerthError, errorCode, reasonOf } from '../errors/index.js';

/** No blocks or no inodes left, or a quota used up. */
export function isStorageFull(error: unknown): boolean {
  const code = errorCode(error);
  return code === 'ENOSPC' || code === 'EDQUOT';
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
