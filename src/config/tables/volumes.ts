import { ABSOLUTE, integer, list } from '../kinds.js';

/** File systems that a cache may be allowed on: those that src/launch/cache-file.ts tells apart. */
const CACHE_FILESYSTEMS = ['beegfs', 'btrfs', 'ext4', 'f2fs', 'gpfs', 'lustre', 'nfs', 'tmpfs', 'xfs', 'zfs'] as const;

/** [volumes] of berth.toml. */
export const volumes = {
  allowed_sources: list({
    of: 'absolute paths',
    each: ABSOLUTE,
    default: [],
    description:
      'Where the sources of users\' volumes may lie, e.g. `["/home", "/scratch"]`; empty for anywhere that the user can ' +
      'reach. What counts is where a source really is, once its symbolic links are followed. It does not concern what the ' +
      'site and its modules mount.',
  }),
  denied_sources: list({
    of: 'absolute paths',
    each: ABSOLUTE,
    default: [],
    description: "Where the sources of users' volumes may not lie, whatever `allowed_sources` says.",
  }),
  denied_destinations: list({
    of: 'absolute paths',
    each: ABSOLUTE,
    default: [],
    description:
      'Where nothing of a user\'s may be mounted in a container, e.g. `["/opt/site"]`, once the image\'s symbolic links are ' +
      'followed. `/`, `/proc`, `/sys`, `/dev` and the files that Berth writes never can be.',
  }),
  tmpfs_size: integer({
    minimum: 1,
    maximum: 16_777_216,
    default: 1024,
    description: "The size, in MiB, of a user's tmpfs volume without one (`tmpfs:DESTINATION`).",
  }),
  tmpfs_limit: integer({
    minimum: 1,
    maximum: 16_777_216,
    default: 65_536,
    description: 'The largest size, in MiB, that a tmpfs volume may have.',
  }),
  cache_limit: integer({
    minimum: 1,
    maximum: 1_073_741_824,
    default: 102_400,
    description:
      'The largest size, in MiB, that a per-node cache may have (`perNodeCache=size=SIZE`), and that those of one job may ' +
      'have together on a node.',
  }),
  cache_filesystems: list({
    of: `names of file systems: ${CACHE_FILESYSTEMS.join(', ')}`,
    each: new RegExp(`^(?:${CACHE_FILESYSTEMS.join('|')})$`),
    default: ['beegfs', 'btrfs', 'ext4', 'f2fs', 'gpfs', 'lustre', 'xfs', 'zfs'],
    description:
      'On which file systems a per-node cache may be. The kernel mounts a file on it, so it must be one where nobody but root ' +
      'reaches a file that has no name, and whose bytes no user makes up: never one that a user serves. `nfs` counts as safe ' +
      'only where the network between nodes and server does. A file system that makes no unnamed files (O_TMPFILE, as NFS) has no ' +
      'caches even if it is allowed. Empty for no caches at all.',
  }),
} as const;
