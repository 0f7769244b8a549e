import { absolutePath, choice, flag, integer } from '../kinds.js';

/** [store] of berth.toml. */
export const store = {
  path: absolutePath({
    default: '/var/lib/berth',
    description:
      'The directory with the images. It must belong to root and be writable by root alone. Several nodes may share ' +
      'one store on a shared file system, if that lets root on these nodes own files (no root squashing).',
  }),
  import: choice(['root', 'anyone'], {
    default: 'root',
    description:
      'Who may add images. What root imports is for everyone on the site. With `anyone`, users import too: their ' +
      'images are visible to themselves alone, and come before an image of the site with the same name.',
  }),
  pull: choice(['root', 'anyone'], {
    default: 'anyone',
    description:
      'Who may pull images from registries. What root pulls is for everyone on the site; what a user pulls has its name ' +
      'for that user alone, and is stored once however many pull it.',
  }),
  pull_at_launch: flag({
    default: true,
    description:
      'Whether a launch may pull an image that the store has not. Images are pulled when a job is submitted, on that ' +
      'host; this is for jobs from hosts without berthd, and for nodes with a store of their own. berthd then runs `berth ' +
      "pull` with the user's rights, outside the job's limits. Set it false where nodes are to reach no registry.",
  }),
  pull_timeout: integer({
    minimum: 1,
    maximum: 86_400,
    default: 3600,
    description: 'How long, in seconds, such a pull may take. The job waits, and says every few seconds how far it is.',
  }),
  files: choice(['rebuild', 'fuse', 'refuse', 'mount-unsafely'], {
    default: 'rebuild',
    description:
      'What becomes of a file given as the image, as in `srun --image=./app.sqsh`. With `rebuild`, it is read with the ' +
      "user's rights and made into an image of the store, for that user alone and without a name, whatever `import` says; " +
      'as long as the file stays as it is, later launches use that. With `fuse`, a squashfs file is mounted at once, by ' +
      'squashfuse (squashfuse_ll, of the package squashfuse) as the user: the only case in which a container has a process ' +
      'of its own, one on each node, which ends with the container. Reading is two to five times slower; users must be allowed ' +
      'to open /dev/fuse (mode 0666), and [container] userns be `on`. `refuse` is an error. With `mount-unsafely`, the ' +
      "kernel mounts the user's own squashfs file as it is: **every user can then feed made-up bytes to the kernel's " +
      'squashfs driver, and change them while they are mounted. A mistake in that driver gives such a user the whole ' +
      'node.** It is only for sites whose users could be root there anyway.',
  }),
  largest_image: integer({
    minimum: 1,
    maximum: 16_384,
    default: 100,
    description:
      "The largest image that is taken, in GiB of its unpacked files. It keeps an archive's few bytes from filling the " +
      'store.',
  }),
  most_entries: integer({
    minimum: 1000,
    maximum: 50_000_000,
    default: 4_000_000,
    description: 'How many files, directories and links an image may have.',
  }),
  layer_cache: integer({
    minimum: 0,
    maximum: 1_073_741_824,
    default: 51_200,
    description:
      'How much of the store, in MiB, converted layers may take after `berth gc`. They let the next pull skip the layers ' +
      'that it shares with an earlier one; no image needs them to run.',
  }),
  promise_days: integer({
    minimum: 1,
    maximum: 3650,
    default: 30,
    description:
      'For how many days `berth gc` keeps an image that a submitted job was promised. Set it above the longest time that ' +
      'jobs wait in the queue.',
  }),
  compression_level: integer({
    minimum: 1,
    maximum: 22,
    default: 6,
    description:
      'The zstd level of the images that berthd makes. Higher levels make pulls and imports much slower and images a ' +
      'little smaller; how fast a job reads from the image hardly changes. For a 484 MB system image, level 3 took 5 s of ' +
      'processor time and made 179 MB, level 6 took 8 s and made 169 MB, level 9 took 10 s and made 168 MB, level 15 took ' +
      '55 s and made 157 MB.',
  }),
} as const;
