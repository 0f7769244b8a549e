/** Who wants to use something: a user with all their groups. */
export interface Person {
  readonly uid: number;
  readonly gids: readonly number[];
}

/** What decides who may use an image under one of its names. */
export interface Protected {
  readonly owner: 'site' | number;
  readonly access?: { readonly everyone: boolean; readonly uids: readonly number[]; readonly gids: readonly number[] };
}

/**
 * May this user use the image under this name? Root and its owner always may. Where nobody has said who else, the site's
 * images are for everyone and a user's for nobody else.
 */
export function mayUseImage({ uid, gids }: Person, { owner, access }: Protected): boolean {
  if (uid === 0 || uid === owner) return true;
  if (!access) return owner === 'site';
  return access.everyone || access.uids.includes(uid) || access.gids.some((gid) => gids.includes(gid));
}

/** Has anybody said that others than its owner may use it? */
export function isShared({ access }: Pick<Protected, 'access'>): boolean {
  return access !== undefined && (access.everyone || access.uids.length > 0 || access.gids.length > 0);
}

/** Who has shown that they may have something of a registry's: everyone, where nobody had to ask for it, or some users. */
export interface Proved {
  readonly everyone: boolean;
  readonly uids: readonly number[];
}

/** Need this user not show any more that they may have it? Root reads the store anyway. */
export function hasProved(uid: number, { everyone, uids }: Proved): boolean {
  return uid === 0 || everyone || uids.includes(uid);
}

/** What is known once this user has shown it; `everyone` is the user's word, who could give it away as well. */
export function prove<P extends Proved>(proved: P, uid: number, everyone: boolean): P {
  const uids = proved.uids.includes(uid) ? proved.uids : [...proved.uids, uid];
  return { ...proved, everyone: proved.everyone || everyone, uids };
}
