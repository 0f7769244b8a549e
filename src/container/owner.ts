import { BerthError } from '../errors/index.js';
import { native, type Account } from '../native/index.js';

/** Whose container, with the groups that Slurm gives the ranks. */
export interface Identity {
  readonly uid: number;
  readonly gid: number;
  readonly gids: readonly number[];
}

/** Whose container, with what the name service knows of them. */
export interface Owner extends Identity {
  readonly account: Account;
}

/**
 * Asks the name service who this is.
 *
 * @throws BerthError BERTH_IDENTITY when it does not know the user.
 */
export async function ownerOf({ uid, gid, gids }: Identity): Promise<Owner> {
  return { uid, gid, gids, account: await accountOf(uid, [...new Set([gid, ...gids])]) };
}

/**
 * The user's account, with the names of `gids`.
 *
 * @throws BerthError BERTH_IDENTITY when the name service does not know the user.
 */
export async function accountOf(uid: number, gids: readonly number[]): Promise<Account> {
  const account = await native.account(uid, gids);
  if (account) return account;
  throw new BerthError('BERTH_IDENTITY', { uid, why: `the name service of this node knows no user with uid ${uid}` });
}
