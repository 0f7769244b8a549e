/** A failure of the test cluster itself, told to its user as: what failed, why, and what to do. */
export class ClusterError extends Error {
  override readonly name = 'ClusterError';

  /**
   * @param what the operation that failed, without a full stop
   * @param why  the reason, as exact as it is known
   * @param remedy the next thing for the reader to do
   */
  constructor(
    readonly what: string,
    readonly why: string,
    readonly remedy: string,
  ) {
    super(`${what}: ${why}\n${remedy}`);
  }
}

/** The code of a Node.js system error ("ENOENT"), or "" for any other value. */
export function errorCode(error: unknown): string {
  if (error instanceof Error && 'code' in error && typeof error.code === 'string') return error.code;
  return '';
}

/** The message of whatever was thrown. */
export function errorMessage(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
