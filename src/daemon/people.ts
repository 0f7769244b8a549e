import { BerthError } from '../errors/index.js';
import { native } from '../native/index.js';
import type { Peer, Person } from '../policy/index.js';

/** A user with all groups that the name service has for them; root needs none. */
export async function personOf(uid: number): Promise<Person> {
  if (uid === 0) return { uid, gids: [] };
  return { uid, gids: (await native.account(uid, []))?.gids ?? [] };
}

/** The user's name, or the number of one that the name service does not know. */
export async function userName(uid: number): Promise<string> {
  return (await native.account(uid, []))?.name ?? `uid ${uid}`;
}

/** The user's name; undefined where the name service does not know it, or has not said so within `limit` milliseconds. */
export async function nameWithin(uid: number, limit: number): Promise<string | undefined> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<undefined>((resolve) => {
    timer = setTimeout(() => {
      resolve(undefined);
    }, limit);
  });
  const name = native.account(uid, []).then(
    (account) => account?.name,
    () => undefined,
  );
  return Promise.race([name, late]).finally(() => {
    clearTimeout(timer);
  });
}

/**
 * For whom a peer asks: themselves, or for whom root says.
 *
 * @param uid of the request; 0 where it names nobody.
 * @throws BerthError BERTH_NOT_PERMITTED
 */
export function onBehalf(peer: Peer, uid: number): number {
  if (peer.uid === 0) return uid;
  if (uid === 0 || uid === peer.uid) return peer.uid;
  throw new BerthError('BERTH_NOT_PERMITTED', {
    what: 'asking in the name of another user',
    uid: peer.uid,
    why: 'only root may',
    hint: 'leave the other user out: ask as yourself',
  });
}
