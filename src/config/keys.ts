import { absolutePath, choice, flag, integer, list, mounts, text, type Kind } from './kinds.js';

/** An absolute path without a slash at its end, save the root directory itself. */
const ABSOLUTE = /^\/(?:[^\0]*[^/\0])?$/;

/** File systems that a cache may be allowed on: those that src/launch/cache-file.ts tells apart. */
const CACHE_FILESYSTEMS = ['beegfs', 'btrfs', 'ext4', 'f2fs', 'gpfs', 'lustre', 'nfs', 'tmpfs', 'xfs', 'zfs'] as const;

/** Where a browser gets pages from: RFC 6454, without a path. */
const ORIGIN = /^https?:\/\/(?:[a-z0-9.-]+|\[[0-9a-f:.]+\])(?::\d{1,5})?$/;

/**
 * Every key of berth.toml. The reader, the type {@link Config}, `berth config show` and docs/configuration.md all
 * follow from these rows: a new key is one more row.
 */
export const keys = {
  daemon: {
    runtime_directory: absolutePath({
      default: '/run/berth',
      description:
        'Where berthd keeps its socket (`berthd.sock`) and the pins of its containers. It must be on the node itself ' +
        '(a tmpfs such as `/run`), and its parent must be writable by root alone. The plugin and the command line look ' +
        'for the socket under the default path unless they are told otherwise.',
    }),
    log_level: choice(['trace', 'debug', 'info', 'warn', 'error'], {
      default: 'info',
      description:
        'The least severe entries berthd logs. `info` has one entry for each container built and each failure; `debug` ' +
        'adds one for each launch.',
    }),
  },
  store: {
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
      description:
        'How long, in seconds, such a pull may take. The job waits, and says every few seconds how far it is.',
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
  },
  container: {
    userns: choice(['on', 'off'], {
      default: 'on',
      description:
        'Whether containers have a user namespace. Set `off` on a site whose kernel does not let users make them; users ' +
        'then enter a running container through `srun --overlap` instead of `berth exec`.',
    }),
    home: flag({
      default: true,
      description: "Whether the user's home directory is mounted in the container, at the same path.",
    }),
    mounts: mounts({
      default: [],
      description:
        'What the site mounts into every container, each as `"SOURCE[:DESTINATION][:ro]"` with absolute paths, e.g. ' +
        '`["/scratch", "/opt/site:/opt:ro"]`. Without a destination it is the source\'s path; with `ro` it is read-only, ' +
        "everything mounted below it included. Sources are opened with the user's rights. A destination need not exist " +
        'in the image. `/`, `/dev` and everything under `/proc` and `/sys` cannot be destinations: the container sets ' +
        'these up itself.',
    }),
    environment: list({
      of: 'strings "NAME=VALUE"',
      each: /^[A-Za-z_][A-Za-z0-9_]*=[^\0]*$/,
      default: [],
      description:
        "Variables that the site sets in every container, over the image's and before those of modules and users, e.g. " +
        '`["SCRATCH=/scratch/%u"]`. In values, and in the paths of `mounts`, `%u` is the user\'s name, `%U` their uid, `%h` ' +
        'their home directory, and `%%` a percent sign.',
    }),
    remap_root: flag({
      default: false,
      description:
        'Whether users are root in their containers where they do not say otherwise (`--container-remap-root`, ' +
        '`--no-container-remap-root`), as Pyxis has it. It needs `userns = "on"`.',
    }),
    writable: flag({
      default: false,
      description:
        'Whether containers are writable where users do not say otherwise (`--container-writable`, `--container-readonly`).',
    }),
    entrypoint: flag({
      default: false,
      description:
        "Whether programs are started by the image's entrypoint where nobody says otherwise (`--container-entrypoint`, " +
        '`--no-container-entrypoint`).',
    }),
    run: choice(['anyone', 'root'], {
      default: 'anyone',
      description:
        'Who may run containers on this host without Slurm launching them (`berth run`, `shifter`). They are the same ' +
        "containers, with the user's rights and no others. Set `root` where users are to have them in job steps alone.",
    }),
    shifter: flag({
      default: true,
      description:
        "Whether containers have a `shifter` command, at the end of the `PATH`, so that Shifter's job scripts need no change: " +
        'in a container of the image that a script asks for, it starts the program there.',
    }),
    passwd: absolutePath({
      default: '',
      orEmpty: true,
      description:
        "A file with lines of passwd(5) that every container's `/etc/passwd` gets, after the user's own and before the " +
        "image's. Nobody else of the site is in there.",
    }),
    group: absolutePath({
      default: '',
      orEmpty: true,
      description: "The same for `/etc/group`, after the user's groups.",
    }),
    writable_size: integer({
      minimum: 1,
      maximum: 16_777_216,
      default: 1024,
      description:
        'How much, in MiB, may be written in a container that is asked to be writable without a size ' +
        "(`--container-writable`). It is kept in memory, and counts as the job's.",
    }),
    writable_limit: integer({
      minimum: 1,
      maximum: 16_777_216,
      default: 65_536,
      description: 'The largest size, in MiB, that users may give to `--container-writable`.',
    }),
    save_timeout: integer({
      minimum: 1,
      maximum: 86_400,
      default: 1800,
      description:
        'How long, in seconds, it may take to save a container (`--container-save`) when the last task of a step has ended. ' +
        'The step waits for it. A container of 1 GiB takes about 17 s of a processor.',
    }),
    build_timeout: integer({
      minimum: 1,
      maximum: 3600,
      default: 30,
      description:
        'How long, in seconds, a launch waits for its container before it fails with BERTH_BUILD_TIMEOUT. A container ' +
        'takes milliseconds to build: this bounds the wait for a file system that hangs.',
    }),
  },
  volumes: {
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
  },
  modules: {
    directory: absolutePath({
      default: '/etc/berth/modules.d',
      description:
        'The directory with the modules, a file NAME.toml each (docs/modules.md). The files and the directories above them must ' +
        'belong to root and be writable by root alone. A change is taken up by the next container.',
    }),
    default: list({
      of: 'names of modules',
      each: /^[A-Za-z0-9][A-Za-z0-9_.+-]*$/,
      default: [],
      description:
        'Modules that every container gets, unless the user says `--module=none`. A module can also say itself when it is used.',
    }),
    cdi_directories: list({
      of: 'absolute paths',
      each: ABSOLUTE,
      default: ['/etc/cdi', '/var/run/cdi'],
      description:
        'Where the CDI specifications of devices are. Of two files that describe the same device, that in the later directory ' +
        'counts; in one directory it is an error. They belong to root as the modules do.',
    }),
  },
  slurm: {
    spool_dir: absolutePath({
      default: '',
      orEmpty: true,
      description:
        "Slurm's `SlurmdSpoolDir` on this node, with `%h` and `%n` replaced, as `scontrol show config` has it. A launch " +
        'gets it from slurmd; berthd needs it here only to prepare containers before a job starts.',
    }),
    prepare: flag({
      default: false,
      description:
        "Whether the prolog may build a job's container (`salloc --image`, `sbatch --image`) on each node before its first " +
        'step. Needs `[slurm] spool_dir`, and the plugin `spank_berth_prolog.so` in `plugstack.conf`.',
    }),
  },
  health: {
    drain: flag({
      default: false,
      description:
        "Whether Berth drains this node in Slurm when a check fails, and resumes it when that check passes again. Only Slurm's " +
        'HealthCheckProgram (`berth-healthcheck`) makes it look. Its reason begins with `berth: `; a node that is drained or ' +
        'down for any other reason is left alone, and nothing is done because of a warning, or of what could not be found out.',
    }),
    drain_after: integer({
      minimum: 1,
      maximum: 100,
      default: 2,
      description: 'How many times in a row the same check has to fail, asked by Slurm, before the node is drained.',
    }),
    resume_after: integer({
      minimum: 1,
      maximum: 100,
      default: 3,
      description:
        'How many times in a row every check that the node was drained for has to pass, asked by Slurm, before it is resumed. ' +
        'Higher numbers keep a fault that comes and goes from doing the same to the node.',
    }),
    skip: list({
      of: 'ids of checks, as docs/health.md has them',
      each: /^[a-z][a-z0-9-]*$/,
      default: [],
      description: 'Checks that are not done, e.g. `["clock"]` on virtual machines whose host keeps the time.',
    }),
    mounts: list({
      of: 'absolute paths',
      each: /^\/[^\0]*[^/\0]$/,
      default: [],
      description:
        'Where something has to be mounted for jobs to run here, e.g. `["/home", "/scratch"]`. The sources of [container] ' +
        'mounts have to be there anyway, and need not be repeated.',
    }),
    links: list({
      of: 'names of network interfaces',
      each: /^[^\s/]{1,15}$/,
      default: [],
      description:
        'Network interfaces that must have a link, e.g. `["eth0", "ib0"]`. Others that are up without one are a warning.',
    }),
    free: integer({
      minimum: 1,
      maximum: 99,
      default: 5,
      description:
        'The percentage of space and inodes that should be free in the image store. A tenth of it is a failure.',
    }),
    verify: integer({
      minimum: 0,
      maximum: 1024,
      default: 4,
      description:
        'How many MiB of image files are read and hashed in each run of the checks, in turn, to find damaged ones. 0 is none. ' +
        '4 MiB take about 15 ms of a processor; with a run every five minutes a store of 20 GiB is read once in 18 days.',
    }),
    canary: flag({
      default: true,
      description: 'Whether a tiny image is launched in each run of the checks: about 5 ms of a processor.',
    }),
    kernel_log_hours: integer({
      minimum: 1,
      maximum: 8760,
      default: 24,
      description: "For how many hours what the kernel's log says of broken hardware or a kernel fault is a finding.",
    }),
    site_checks: absolutePath({
      default: '/etc/berth/health.d',
      orEmpty: true,
      description:
        "The directory with the site's own checks: executables, and rules in files NAME.toml (docs/health.md). They and the " +
        'directory must belong to root and be writable by root alone.',
    }),
  },
  events: {
    listen: text({
      what: 'an IP address and a port, e.g. "127.0.0.1:9443" or "[::1]:9443"',
      form: /^(?:\d{1,3}(?:\.\d{1,3}){3}|\[[0-9a-f:.]+\]):\d{1,5}$/,
      default: '',
      description:
        "Where the node page, metrics and event stream are served beside berthd's own socket (docs/events.md). It needs " +
        '`token_file`, and `tls_cert` and `tls_key` unless the address is a loopback one.',
    }),
    token_file: absolutePath({
      default: '',
      orEmpty: true,
      description:
        'The file with the token that shows everything on this node: a line of at least 32 characters, e.g. from `openssl rand ' +
        '-hex 32`. It must belong to root, mode 0600. Users get tokens of their own from `berth token`.',
    }),
    tls_cert: absolutePath({
      default: '',
      orEmpty: true,
      description: 'The certificate of `listen`, with its chain, in PEM. It is read when berthd starts.',
    }),
    tls_key: absolutePath({
      default: '',
      orEmpty: true,
      description: 'Its private key, in PEM.',
    }),
    names: list({
      of: 'names of hosts',
      each: /^[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?$/,
      default: [],
      description:
        "Names under which browsers ask for this node, besides its addresses, `localhost` and the host's own name. Requests for " +
        'other names are refused, so that no page elsewhere can reach this one by a name that it makes up.',
    }),
    nodes: list({
      of: 'origins, e.g. "https://n2:9443"',
      each: ORIGIN,
      default: [],
      description:
        'Other nodes that the page of this one can show beside it. Each has to name this one in its `origins`.',
    }),
    origins: list({
      of: 'origins, e.g. "https://n1:9443"',
      each: ORIGIN,
      default: [],
      description:
        'Pages that may ask this node for data, besides its own: those of nodes that have it in their `nodes`.',
    }),
  },
} as const satisfies Record<string, Record<string, Kind<unknown>>>;

type Keys = typeof keys;

type CamelCase<S extends string> = S extends `${infer Head}_${infer Tail}`
  ? `${Head}${Capitalize<CamelCase<Tail>>}`
  : S;

type ValueOf<K> = K extends Kind<infer T> ? T : never;

/** A valid configuration: a member for each table, in it a member for each key, in camel case. */
export type Config = {
  readonly [T in keyof Keys]: {
    readonly [K in keyof Keys[T] & string as CamelCase<K>]: ValueOf<Keys[T][K]>;
  };
};

/** A row of the table with its place. */
export interface Key {
  readonly table: string;
  readonly name: string;
  /** As messages show it: "[store] path". */
  readonly title: string;
  readonly kind: Kind<unknown>;
}

/** The table as a list, in its own order. */
export const allKeys: readonly Key[] = Object.entries(keys).flatMap(([table, rows]) =>
  Object.entries<Kind<unknown>>(rows).map(([name, kind]) => ({ table, name, title: `[${table}] ${name}`, kind })),
);

export function camelCase(name: string): string {
  return name.replace(/_(\w)/g, (_, letter: string) => letter.toUpperCase());
}
