/** The private users and groups of a cluster, and the files that name them. */
import { chmod, chown, mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { ClusterError } from './errors.js';
import type { Layout } from './layout.js';

/** A user as the hosts see it. */
export interface Account {
  readonly name: string;
  readonly uid: number;
  readonly gid: number;
  readonly home: string;
  readonly shell: string;
  /** First of 65536 subordinate user and group ids, or undefined for a user who has none. */
  readonly subordinate?: number;
}

/** Subordinate ids per user, what Debian's useradd gives. */
export const subordinateCount = 65_536;

/** The cluster's own users. Carol has no subordinate ids, as users of many sites. */
export const accounts: readonly Account[] = [
  { name: 'alice', uid: 2001, gid: 2001, home: '/home/alice', shell: '/bin/bash', subordinate: 200_000 },
  { name: 'bob', uid: 2002, gid: 2002, home: '/home/bob', shell: '/bin/bash', subordinate: 300_000 },
  { name: 'carol', uid: 2003, gid: 2003, home: '/home/carol', shell: '/bin/bash' },
];

/** A user whom only the name service knows, with the groups besides the own one. */
export interface ServiceAccount extends Account {
  readonly groups: readonly { readonly name: string; readonly gid: number }[];
}

/** The group of all whom the name service knows. */
const people = { name: 'people', gid: 5000 } as const;

/**
 * Users of a cluster with `nameService`: in no file of /etc, but in the directory that NSS asks besides them
 * (libnss-extrausers), as LDAP at a site. Erin has no subordinate ids and a shell of her own.
 */
export const serviceAccounts: readonly ServiceAccount[] = [
  {
    ...{ name: 'dora', uid: 5001, gid: people.gid, home: '/home/dora', shell: '/bin/bash', subordinate: 500_000 },
    groups: [
      { name: 'astro', gid: 5101 },
      { name: 'lab.optics', gid: 5102 },
      { name: 'u_grant-7', gid: 5103 },
    ],
  },
  {
    ...{ name: 'erin', uid: 5002, gid: people.gid, home: '/home/erin', shell: '/bin/sh' },
    groups: [{ name: 'astro', gid: 5101 }],
  },
];

const root: Account = { name: 'root', uid: 0, gid: 0, home: '/root', shell: '/bin/bash' };

/** The group in which alice is besides her own. */
export const physics = { name: 'physics', gid: 3001, members: ['alice'] } as const;

/**
 * The account of a user of the cluster.
 * @throws ClusterError when there is no such user
 */
export function account(name: string): Account {
  const found = [root, ...accounts, ...serviceAccounts].find((candidate) => candidate.name === name);
  if (found === undefined) {
    throw new ClusterError(
      `Cannot become ${name}`,
      'the cluster has no such user',
      `Use one of: root, ${accounts.map((each) => each.name).join(', ')}.`,
    );
  }
  return found;
}

/** Lines of a passwd or group file whose name and id are both not among the given. */
function without(content: string, names: ReadonlySet<string>, ids: ReadonlySet<string>): string[] {
  return content.split('\n').filter((line) => {
    const [name = '', , id = ''] = line.split(':');
    return name !== '' && !names.has(name) && !ids.has(id);
  });
}

const asFile = (lines: readonly string[]): string => lines.map((line) => `${line}\n`).join('');

const passwdLine = ({ name, uid, gid, home, shell }: Account): string =>
  `${name}:x:${String(uid)}:${String(gid)}:${name}:${home}:${shell}`;

/** The files that libnss-extrausers reads. */
async function writeNameService(layout: Layout): Promise<void> {
  const members = new Map<string, string[]>([[`${people.name}:x:${String(people.gid)}`, []]]);
  for (const { name, groups } of serviceAccounts) {
    for (const group of groups) {
      const key = `${group.name}:x:${String(group.gid)}`;
      members.set(key, [...(members.get(key) ?? []), name]);
    }
  }
  await mkdir(layout.nameService);
  await Promise.all([
    writeFile(join(layout.nameService, 'passwd'), asFile(serviceAccounts.map(passwdLine))),
    writeFile(
      join(layout.nameService, 'group'),
      asFile(Array.from(members, ([key, names]) => `${key}:${names.join(',')}`)),
    ),
  ]);
}

/**
 * Writes passwd, group, subuid and subgid, and makes the home directories.
 *
 * @param nameService whether there are {@link serviceAccounts} too
 */
export async function writeAccounts(layout: Layout, nameService = false): Promise<void> {
  const [hostPasswd, hostGroup] = await Promise.all([readFile('/etc/passwd', 'utf8'), readFile('/etc/group', 'utf8')]);
  const names = accounts.map((each) => each.name);
  const passwd = without(hostPasswd, new Set(names), new Set(accounts.map((each) => String(each.uid))));
  const group = without(
    hostGroup,
    new Set([...names, physics.name]),
    new Set([...accounts.map((each) => String(each.gid)), String(physics.gid)]),
  );
  const subordinate: string[] = [];
  for (const each of accounts) {
    passwd.push(passwdLine(each));
    group.push(`${each.name}:x:${String(each.gid)}:`);
  }
  const everybody = [...accounts, ...(nameService ? serviceAccounts : [])];
  for (const each of everybody) {
    if (each.subordinate !== undefined) {
      subordinate.push(`${each.name}:${String(each.subordinate)}:${String(subordinateCount)}`);
    }
  }
  group.push(`${physics.name}:x:${String(physics.gid)}:${physics.members.join(',')}`);

  const services = nameService ? 'files extrausers' : 'files';
  await Promise.all([
    ...(nameService ? [writeNameService(layout)] : []),
    writeFile(join(layout.etc, 'passwd'), asFile(passwd)),
    writeFile(join(layout.etc, 'group'), asFile(group)),
    writeFile(join(layout.etc, 'subuid'), asFile(subordinate)),
    writeFile(join(layout.etc, 'subgid'), asFile(subordinate)),
    // No directory service of the machine: it knows other users by these ids.
    writeFile(
      join(layout.etc, 'nsswitch.conf'),
      asFile([`passwd: ${services}`, `group: ${services}`, 'hosts: files dns', 'services: files', 'protocols: files']),
    ),
  ]);
  for (const each of everybody) {
    const directory = join(layout.dir, each.home);
    await mkdir(directory);
    await chown(directory, each.uid, each.gid);
    await chmod(directory, 0o700);
  }
}
