import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { usage } from './arguments.js';

const run = promisify(execFile);

/** passwd and group of the name service, which getent(1) asks. */
export type Database = 'passwd' | 'group';

/** The names of users or groups; the number of one that has none. */
export async function accountNames(database: Database, ids: readonly number[]): Promise<string[]> {
  return Promise.all(ids.map(async (id) => (await entry(database, String(id)))?.[0] ?? String(id)));
}

/**
 * The number of a user or group, which may be given as a number too.
 *
 * @throws BerthError BERTH_USAGE when there is none.
 */
export async function accountId(database: Database, name: string, command: string): Promise<number> {
  const id = (await entry(database, name))?.[2] ?? (/^\d{1,9}$/.test(name) ? name : undefined);
  if (id !== undefined) return Number(id);
  const what = database === 'passwd' ? 'user' : 'group';
  throw usage(`there is no ${what} ${name}`, 'the name service of this host knows none', command);
}

async function entry(database: Database, key: string): Promise<string[] | undefined> {
  // A key that looks like an option is none.
  const { stdout } = await run('getent', [database, '--', key]).catch(() => ({ stdout: '' }));
  return stdout === '' ? undefined : stdout.split(':');
}
