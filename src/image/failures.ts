import { BerthError } from '../errors/index.js';

/** No blocks or no inodes left, or a quota used up. */
export function isStorageFull(error: unknown): boolean {
  const code = errorCode(error);
  return code === 'ENOSPC' || code === 'EDQUOT';
}

/** What a failed operation on the store's files means to its users. */
export function storeFailure(path: string, error: unknown): BerthError {
  const why = error instanceof Error ? error.message : String(error);
  return new BerthError(
    isStorageFull(error) ? 'BERTH_STORE_FULL' : 'BERTH_STORE_UNUSABLE',
    { path, why },
    { cause: error },
  );
}

export function errorCode(error: unknown): string | undefined {
  return error instanceof Error && 'code' in error && typeof error.code === 'string' ? error.code : undefined;
}
