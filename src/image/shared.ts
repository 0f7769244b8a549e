import { mayUseImage, type Person } from '../policy/index.js';
import type { Layout } from './layout.js';
import { listReadable, type ListedImage } from './names.js';
import { sharers } from './sharers.js';

/**
 * Characters of records of what one user shares, and of what all do, that somebody is told of at a time: a reply has an end,
 * and who shares too much is not to take its place from what others share.
 */
const MOST_OF_ONE = 512 * 1024;
const MOST_OF_ALL = 8 * 1024 * 1024;

/**
 * What other users share with this person, in no order; of very much, what each shared last. Root may use everything, and
 * is told of nothing here.
 *
 * @throws BerthError BERTH_STORE_UNUSABLE
 */
export async function listShared(layout: Layout, person: Person): Promise<ListedImage[]> {
  const listed: ListedImage[] = [];
  if (person.uid === 0) return listed;
  let left = MOST_OF_ALL;
  for (const owner of await sharers(layout)) {
    if (owner === person.uid) continue;
    // A name that cannot be read is its owner's concern, and nobody else's to know of.
    const names = await listReadable(layout, owner);
    const shared = names.filter((record) => mayUseImage(person, record));
    const { some, size } = newest(shared, Math.min(MOST_OF_ONE, left));
    listed.push(...some);
    left -= size;
  }
  return listed;
}

/** The newest of them, with no more characters together than that. */
function newest(
  records: readonly ListedImage[],
  most: number,
): { readonly some: ListedImage[]; readonly size: number } {
  let size = 0;
  const some: ListedImage[] = [];
  for (const record of records.toSorted((a, b) => b.created - a.created)) {
    const { length } = JSON.stringify(record);
    if (size + length > most) break;
    size += length;
    some.push(record);
  }
  return { some, size };
}
