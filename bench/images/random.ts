/** Numbers from 0 up to 1, the same ones for the same seed, which is not 0: Marsaglia's xorshift with 32 bits. */
export function generator(seed: number): () => number {
  let state = seed;
  return () => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return (state >>> 0) / 2 ** 32;
  };
}
