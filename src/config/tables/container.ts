import { absolutePath, choice, flag, integer, list, mounts } from '../kinds.js';

/** [container] of berth.toml. */
export const container = {
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
} as const;
