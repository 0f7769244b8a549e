import { closeSync, mkdtempSync, openSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { runProgram, type Source } from './program.js';

/** Archives an open directory with GNU tar. */
export function archiveDirectory(text: string, label: string, directory: number): Source {
  const maps = ownerMaps();
  const owner = maps ? ['--owner-map=/proc/self/fd/4', '--group-map=/proc/self/fd/5'] : [];
  try {
    return runProgram(
      text,
      label,
      [
        ...(['tar', '--create', '--file=-', '--directory=/proc/self/fd/3'] as const),
        // Names of this host's users mean nothing in the image. Sorted, the same directory gives the same image.
        ...['--numeric-owner', ...owner, '--sort=name', '--format=pax', '--pax-option=delete=atime,delete=ctime'],
        // Of the extended attributes those that work in an image: not overlayfs's, nor this host's SELinux labels.
        ...['--xattrs', '--xattrs-include=user.*', '--xattrs-include=security.capability'],
        ...['--sparse', '--warning=no-file-ignored', '.'],
      ],
      'ignore',
      [directory, ...(maps ?? [])],
    );
  } finally {
    maps?.forEach(closeSync);
  }
}

/**
 * What a plain user owns is root's in the image: a user cannot have made files as root, and an image whose /usr belongs
 * to some uid of this site would be of use to nobody else. Owners that are not the user stay.
 *
 * @returns descriptors of tar's owner map and group map; undefined for root, whose files keep their owners.
 */
function ownerMaps(): [number, number] | undefined {
  const uid = process.getuid?.() ?? 0;
  if (uid === 0) return undefined;
  const gids = new Set([process.getgid?.() ?? 0, ...(process.getgroups?.() ?? [])]);
  return [unnamedFile(`+${uid} root:0\n`), unnamedFile([...gids].map((gid) => `+${gid} root:0\n`).join(''))];
}

/** tar wants files for its maps. This one has lost its name, so that nothing is left whenever this process ends. */
function unnamedFile(content: string): number {
  const directory = mkdtempSync(join(tmpdir(), 'berth-'));
  try {
    const path = join(directory, 'map');
    writeFileSync(path, content, { mode: 0o600 });
    return openSync(path, 'r');
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}
