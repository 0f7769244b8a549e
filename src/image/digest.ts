/** Is this a digest as the store has them: "sha256:" and 64 lower-case hexadecimal digits? */
export function isDigest(text: string): boolean {
  return /^sha256:[0-9a-f]{64}$/.test(text);
}

/** The digits of a digest. Whatever of one becomes part of a path goes through here. */
export function hexOf(digest: string): string {
  if (!isDigest(digest)) throw new Error(`not a digest: ${JSON.stringify(digest)}`);
  return digest.slice('sha256:'.length);
}
