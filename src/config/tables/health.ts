import { absolutePath, flag, integer, list } from '../kinds.js';

/** Where a site's own checks are unless it says otherwise. */
export const USUAL_SITE_CHECKS = '/etc/berth/health.d';

/** [health] of berth.toml. */
export const health = {
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
    default: USUAL_SITE_CHECKS,
    orEmpty: true,
    description:
      "The directory with the site's own checks: executables, and rules in files NAME.toml (docs/health.md). They and the " +
      'directory must belong to root and be writable by root alone. The default one may be missing; another one that is ' +
      'missing is a finding, as it may only not be mounted.',
  }),
} as const;
