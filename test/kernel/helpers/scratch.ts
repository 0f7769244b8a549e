import { execFileSync } from 'node:child_process';
import { chmodSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { mountsBelow } from './residue.js';

/** A directory of a test's own, which every user may enter. */
export function makeScratch(): string {
  const directory = mkdtempSync(join(tmpdir(), 'berth-kernel-'));
  chmodSync(directory, 0o755);
  return directory;
}

/** Removes it with all its mounts. */
export function removeScratch(directory: string): void {
  for (const mount of mountsBelow(directory).reverse()) execFileSync('umount', ['--lazy', mount]);
  rmSync(directory, { recursive: true, force: true });
}

/** Undoes one mount of a test's. */
export function removeMount(path: string): void {
  execFileSync('umount', [path]);
}
