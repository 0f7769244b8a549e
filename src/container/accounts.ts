import type { Account } from '../native/index.js';

/** A line of passwd(5) for the caller. What would break the line is left out: names come from directory services. */
export function passwdLine(uid: number, gid: number, account: Account): string {
  return `${[account.name, 'x', uid, gid, account.gecos, account.home, account.shell].map(field).join(':')}\n`;
}

/** Lines of group(5), one for each group whose name is known. */
export function groupLines(groups: readonly { readonly gid: number; readonly name: string }[]): string {
  return groups.map(({ gid, name }) => `${field(name)}:x:${gid}:\n`).join('');
}

function field(value: string | number): string {
  return String(value).replace(/[:\n\r\0]/g, '');
}
