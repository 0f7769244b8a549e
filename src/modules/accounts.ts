import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { reasonOf } from '../errors/index.js';
import type { AccountLines } from '../options/index.js';
import { cannotUse, type ModuleUse } from './use.js';

const run = promisify(execFile);

/** Milliseconds: a directory service may have to be asked. */
const PATIENCE = 10_000;

/** What getent(1) exits with when there is no such line. */
const UNKNOWN = 2;

/**
 * The lines of the accounts that a module names, with their groups, as the node's name service has them. One that the node
 * does not know is left out: a module's file may be for several clusters.
 *
 * @throws BerthError BERTH_MODULE_HOST where the name service does not answer.
 */
export async function accountsOf(use: ModuleUse): Promise<AccountLines> {
  const accounts = await Promise.all(use.module.accounts.map((name) => linesOf(use, name)));
  return {
    passwd: accounts.map(({ passwd }) => passwd).join(''),
    group: accounts.map(({ group }) => group).join(''),
  };
}

async function linesOf(use: ModuleUse, name: string): Promise<AccountLines> {
  const passwd = await lineOf(use, 'passwd', name, 7);
  const gid = passwd?.[3];
  if (passwd === undefined || gid === undefined) return { passwd: '', group: '' };
  const group = await lineOf(use, 'group', gid, 4);
  const [user, , ...rest] = passwd;
  return {
    passwd: `${[user, 'x', ...rest].join(':')}\n`,
    // Who else is in it is nobody's concern in there.
    group: group ? `${group[0] ?? ''}:x:${gid}:\n` : '',
  };
}

/** The fields of a line; undefined where there is none that has as many. */
async function lineOf(
  use: ModuleUse,
  database: 'passwd' | 'group',
  key: string,
  count: number,
): Promise<string[] | undefined> {
  try {
    const { stdout } = await run('getent', [database, key], { timeout: PATIENCE });
    const fields = stdout.split('\n', 1)[0]?.split(':');
    return fields?.length === count ? fields : undefined;
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === UNKNOWN) return undefined;
    throw cannotUse(use, `${key} could not be looked up (getent ${database}): ${reasonOf(error)}`, error);
  }
}
