import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { lstatSync, readdirSync, readFileSync, readlinkSync, type Stats } from 'node:fs';

/** What a file tree says of one of its names. */
export interface Listed {
  readonly type: 'directory' | 'file' | 'symlink' | 'fifo';
  /** Permission bits, in octal. */
  readonly mode: string;
  readonly owner: string;
  /** Seconds since 1970. */
  readonly mtime: number;
  /** What a symbolic link says; the SHA-256 of a file's bytes. */
  readonly content?: string;
  /** All names of the same file, where it has more than one. */
  readonly links?: string;
  /** Extended attributes that an image keeps, "name=value". */
  readonly xattrs?: readonly string[];
}

/** Everything below a directory by path, "" the directory itself. Names are taken as Latin-1, so that each byte shows. */
export function list(root: string): Map<string, Listed> {
  const names = new Map<string, Stats>();
  const open = [Buffer.alloc(0)];
  for (let path = open.pop(); path !== undefined; path = open.pop()) {
    const status = lstatSync(below(root, path));
    if (status.isCharacterDevice() || status.isBlockDevice()) continue;
    names.set(path.toString('latin1'), status);
    if (!status.isDirectory()) continue;
    for (const name of readdirSync(below(root, path), { encoding: 'buffer' })) {
      open.push(path.length === 0 ? name : Buffer.concat([path, Buffer.from('/'), name]));
    }
  }
  const links = namesByInode(names);
  const xattrs = extendedAttributes(root);
  const sorted = [...names].sort(([a], [b]) => (a < b ? -1 : 1));
  return new Map(sorted.map(([path, status]) => [path, describe(root, path, status, links, xattrs)]));
}

function describe(
  root: string,
  path: string,
  status: Stats,
  links: ReadonlyMap<number, readonly string[]>,
  xattrs: ReadonlyMap<string, readonly string[]>,
): Listed {
  const place = below(root, Buffer.from(path, 'latin1'));
  const shared = status.isDirectory() ? [] : (links.get(status.ino) ?? []);
  if (!status.isDirectory() && status.nlink !== shared.length) throw new Error(`${path} has ${status.nlink} links`);
  const attributes = xattrs.get(path);
  return {
    type: typeOf(status),
    mode: (status.mode & 0o7777).toString(8),
    owner: `${status.uid}:${status.gid}`,
    mtime: Math.floor(status.mtimeMs / 1000),
    ...(status.isSymbolicLink() && { content: readlinkSync(place, 'latin1') }),
    ...(status.isFile() && { content: createHash('sha256').update(readFileSync(place)).digest('hex') }),
    ...(shared.length > 1 && { links: shared.toSorted().join(' ') }),
    ...(attributes && { xattrs: attributes }),
  };
}

function typeOf(status: Stats): Listed['type'] {
  if (status.isDirectory()) return 'directory';
  if (status.isSymbolicLink()) return 'symlink';
  return status.isFIFO() ? 'fifo' : 'file';
}

function namesByInode(names: ReadonlyMap<string, Stats>): Map<number, string[]> {
  const links = new Map<number, string[]>();
  for (const [path, { ino }] of names) links.set(ino, [...(links.get(ino) ?? []), path]);
  return links;
}

/** Of every file that has some, those that an image keeps. */
function extendedAttributes(root: string): Map<string, string[]> {
  const options = ['-R', '-P', '-h', '-d', '-m', '-', '-e', 'hex', '.'];
  const { stdout, stderr } = spawnSync('getfattr', options, { cwd: root, encoding: 'latin1' });
  // A squashfs file system in which nothing has any does not support them.
  const complaints = stderr.split('\n').filter((line) => line !== '' && !line.endsWith(': Operation not supported'));
  if (complaints.length > 0) throw new Error(complaints.join('\n'));
  const found = new Map<string, string[]>();
  for (const part of stdout.split('\n\n')) {
    const [, path, rest = ''] = /^# file: (?:\.\/)?(.*)\n([^]*)$/.exec(part.trimStart()) ?? [];
    const kept = rest.split('\n').filter((line) => /^(user\.(?!overlay\.)|security\.capability=)/.test(line));
    if (path !== undefined && kept.length > 0) found.set(path === '.' ? '' : path, kept.toSorted());
  }
  return found;
}

function below(root: string, path: Buffer): Buffer {
  return Buffer.concat([Buffer.from(`${root}/`), path]);
}
