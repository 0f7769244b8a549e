/** Why something was thrown, in its own words. JavaScript throws anything. */
export function reasonOf(thrown: unknown): string {
  return thrown instanceof Error ? thrown.message : String(thrown);
}

/** The symbolic errno that Node and the addon put on what they throw, such as "ENOENT"; undefined where there is none. */
export function errorCode(thrown: unknown): string | undefined {
  return thrown instanceof Error && 'code' in thrown && typeof thrown.code === 'string' ? thrown.code : undefined;
}
