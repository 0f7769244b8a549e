import { randomBytes } from 'node:crypto';
import { open, readdir, rename, unlink } from 'node:fs/promises';
import { join } from 'node:path';
import { errorCode } from '../errors/index.js';
import { writeDurably } from './durable.js';
import { storeFailure } from './failures.js';
import type { Layout, Scope } from './layout.js';

// Which users share images is noted in files, so that whoever lists images need not have the names of all users read.
//
// A note goes when its user shares nothing any more, without a lock; others may share at that moment, on any host. Whoever
// shares first notes it, anew each time, and then writes the names: for a while a note stays whatever there is. A collector
// that finds an older one, and then nothing that its user shares, sets the note aside and looks at its age again: is it
// young, it was made meanwhile, and comes back. Notes that are set aside count, as their collector may have been killed.

/** Whoever shares has written the names this long after noting it, and other hosts see them: milliseconds. */
const NOTE_LIMIT = 3_600_000;

/** That a user shares, or has shared. */
interface Note {
  readonly uid: number;
  /** The file's name: uid-UID, or uid-UID.RANDOM when it was set aside. */
  readonly file: string;
}

/** Notes that somebody shares, before others can find that out. The site's own images are listed anyway. */
export async function noteSharing(layout: Layout, scope: Scope, temporary: string): Promise<void> {
  if (scope !== 'site') await writeDurably(layout.sharing(scope), '', temporary);
}

/**
 * Who shares something, or has not long ago.
 *
 * @throws BerthError BERTH_STORE_UNUSABLE
 */
export async function sharers(layout: Layout): Promise<number[]> {
  return [...new Set((await notes(layout)).map(({ uid }) => uid))];
}

/**
 * Removes the notes of users who share nothing any more.
 *
 * @param now milliseconds since the epoch, by the store's clock.
 * @param sharesAny does this user share anything now?
 * @throws BerthError BERTH_STORE_UNUSABLE; what `sharesAny` throws.
 */
export async function forgetSharers(
  layout: Layout,
  now: number,
  sharesAny: (uid: number) => Promise<boolean>,
): Promise<void> {
  for (const { uid, file } of await notes(layout)) {
    const path = join(layout.shared, file);
    if ((await isYoung(path, now)) || (await sharesAny(uid))) continue;
    try {
      await removeOld(layout.sharing(uid), path, now);
    } catch (error) {
      // Another collector has it.
      if (errorCode(error) !== 'ENOENT') throw error;
    }
  }
}

async function notes({ root, shared }: Layout): Promise<Note[]> {
  const files = await readdir(shared).catch((error: unknown) => {
    if (errorCode(error) === 'ENOENT') return [];
    throw storeFailure(root, error);
  });
  return files.flatMap((file) => {
    const uid = /^uid-(\d+)(?:\.[0-9a-f]{16})?$/.exec(file)?.[1];
    return uid === undefined ? [] : [{ uid: Number(uid), file }];
  });
}

/** Removes a note, unless it was made anew. One that is aside already never is. */
async function removeOld(place: string, path: string, now: number): Promise<void> {
  const aside = path === place ? `${place}.${randomBytes(8).toString('hex')}` : path;
  if (path === place) await rename(place, aside);
  // Over one that is there by now: that is as young.
  if (await isYoung(aside, now)) await rename(aside, place);
  else await unlink(aside);
}

/** Of what is not there, another collector's, nothing is to be done either. */
async function isYoung(path: string, now: number): Promise<boolean> {
  try {
    // Opened, not only looked at: NFS then asks the server, as the file may have been replaced on another host.
    const file = await open(path, 'r');
    try {
      return now - (await file.stat()).mtimeMs < NOTE_LIMIT;
    } finally {
      await file.close();
    }
  } catch (error) {
    if (errorCode(error) === 'ENOENT') return true;
    throw error;
  }
}
