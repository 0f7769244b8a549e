import { execFileSync } from 'node:child_process';
import {
  chmodSync,
  copyFileSync,
  lchownSync,
  mkdirSync,
  mkdtempSync,
  rmSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { dirname, join } from 'node:path';
import { program } from './programs.js';

interface Attributes {
  readonly mode?: number;
  readonly uid?: number;
  readonly gid?: number;
}

/** One entry of an image. Directories above it are made, root's, mode 0755. */
export type Entry = (path: string) => void;

/** Paths without a leading slash, parents first. */
export type Tree = Readonly<Record<string, Entry>>;

export function directory(attributes: Attributes = {}): Entry {
  return (path) => {
    mkdirSync(path, { recursive: true });
    give(path, 0o755, attributes);
  };
}

export function file(content: string, attributes: Attributes & { readonly size?: number } = {}): Entry {
  return (path) => {
    writeFileSync(path, content);
    if (attributes.size !== undefined) truncateSync(path, attributes.size);
    give(path, 0o644, attributes);
  };
}

export function link(target: string): Entry {
  return (path) => symlinkSync(target, path);
}

export function fifo(): Entry {
  return (path) => execFileSync('mkfifo', [path]);
}

export function characterDevice(major: number, minor: number): Entry {
  return (path) => execFileSync('mknod', ['-m', '666', path, 'c', String(major), String(minor)]);
}

/** test/native/toolbox.c, to ask from the inside what can be seen there. */
export function toolbox(attributes: Attributes = {}): Entry {
  return (path) => {
    copyFileSync(program('toolbox'), path);
    give(path, 0o755, attributes);
  };
}

/** A squashfs image of the tree in the scratch directory; returns its path. Compressing takes most of the time. */
export function makeImage(scratch: string, tree: Tree, root: Attributes = {}, compressed = false): string {
  const top = plant(scratch, tree, root);
  const image = `${top}.squashfs`;
  const compression = compressed ? [] : ['-noI', '-noD', '-noF', '-noX'];
  execFileSync('mksquashfs', [top, image, '-noappend', '-no-progress', '-quiet', '-processors', '1', ...compression]);
  rmSync(top, { recursive: true });
  return image;
}

/** A tar archive of the tree in the scratch directory; returns its path. */
export function makeArchive(scratch: string, tree: Tree): string {
  const top = plant(scratch, tree);
  execFileSync('tar', ['-C', top, '-cf', `${top}.tar`, '.']);
  rmSync(top, { recursive: true });
  return `${top}.tar`;
}

function plant(scratch: string, tree: Tree, root: Attributes = {}): string {
  const top = mkdtempSync(join(scratch, 'tree-'));
  for (const [path, make] of Object.entries(tree)) {
    mkdirSync(dirname(join(top, path)), { recursive: true });
    make(join(top, path));
  }
  give(top, 0o755, root);
  return top;
}

function give(path: string, usual: number, { mode = usual, uid = 0, gid = 0 }: Attributes): void {
  lchownSync(path, uid, gid);
  chmodSync(path, mode);
}
