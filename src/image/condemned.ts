import { rename, rm, stat, unlink, utimes } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { errorCode } from '../errors/index.js';
import { syncDirectory } from './durable.js';
import { touch } from './keeping.js';
import type { Layout } from './layout.js';

// An image goes in three steps, so that whoever needs it at that moment, on whichever host, does not lose it:
//
//   1. it is condemned: its file gets another name, under which nothing uses it;
//   2. the collector looks once more who needs it, and puts it back for them;
//   3. the file is removed.
//
// Whoever comes to need an image first says so (a name, a promise, a use, a hold), and then looks for its file, which
// puts a condemned one back (imageInPlace). Either the collector's look in step 2 sees that need, or the need was written
// after it, thus after step 1, and the file is found condemned or gone: of putting back and removing, one succeeds.

/** Where a condemned image's file is. */
export function condemnedPath(layout: Layout, digest: string): string {
  return layout.image(digest).replace(/\.squashfs$/, '.condemned');
}

/**
 * Takes an image's file out of its place. Its time says since when.
 *
 * @param now milliseconds since the epoch, by the store's clock.
 * @returns false when it was not there.
 */
export async function condemn(layout: Layout, digest: string, now: number): Promise<boolean> {
  try {
    await rename(layout.image(digest), condemnedPath(layout, digest));
    await utimes(condemnedPath(layout, digest), now / 1000, now / 1000);
    return true;
  } catch (error) {
    if (errorCode(error) === 'ENOENT') return false;
    throw error;
  }
}

/** Puts a condemned image back; returns false when there is none. */
export async function pardon(layout: Layout, digest: string): Promise<boolean> {
  try {
    // Over one that was made anew meanwhile: the digest says that they are the same.
    await rename(condemnedPath(layout, digest), layout.image(digest));
    await syncDirectory(layout.images);
    return true;
  } catch (error) {
    if (errorCode(error) === 'ENOENT') return false;
    throw error;
  }
}

/** Removes a condemned image for good; returns false when somebody has put it back. */
export async function removeCondemned(layout: Layout, digest: string): Promise<boolean> {
  try {
    await unlink(condemnedPath(layout, digest));
    return true;
  } catch (error) {
    if (errorCode(error) === 'ENOENT') return false;
    throw error;
  }
}

/** Is the image's file in its place? For whoever has said that they need it: a condemned one is put back. */
export async function imageInPlace(layout: Layout, digest: string): Promise<boolean> {
  // A collector may put it back itself between the first look and the second.
  return (await isThere(layout, digest)) || (await pardon(layout, digest)) || (await isThere(layout, digest));
}

async function isThere(layout: Layout, digest: string): Promise<boolean> {
  try {
    await stat(layout.image(digest));
    return true;
  } catch (error) {
    if (errorCode(error) === 'ENOENT') return false;
    throw error;
  }
}

/**
 * Keeps an image while it is being given a name: from before one looks whether its file is there until it has the name.
 * A holder that dies leaves it; see collect.ts.
 *
 * @param temporary the holder's own directory, whose name is unique.
 */
export async function holdImage(layout: Layout, digest: string, temporary: string): Promise<void> {
  await touch(layout.promisesOf(digest), basename(temporary));
}

export async function releaseImage(layout: Layout, digest: string, temporary: string): Promise<void> {
  await rm(join(layout.promisesOf(digest), basename(temporary)), { force: true });
}
