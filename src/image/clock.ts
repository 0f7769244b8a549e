import { rm, stat } from 'node:fs/promises';
import type { Layout } from './layout.js';
import { makeTemporary, type Owner } from './temporary.js';

/**
 * The time by the clock that dates the store's files, in milliseconds since the epoch: that of a file server may be
 * another than this host's.
 */
export async function storeClock(layout: Layout, self: Owner): Promise<number> {
  const temporary = await makeTemporary(layout.temporary, self);
  try {
    return (await stat(temporary)).mtimeMs;
  } finally {
    await rm(temporary, { recursive: true, force: true });
  }
}
