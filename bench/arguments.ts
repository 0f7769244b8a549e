/** The bench's command line. */
import { resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { processorsPerNode } from '../test/cluster/slurm-configuration.js';
import type { Plan } from './rounds.js';

export const usage = `What a launch with Berth costs, compared with bare srun, podman and Charliecloud.

Usage: npm run bench -- launch [OPTION...]

Starts a private Slurm cluster on this machine, launches the same program in every way, over and over in turn, and says
how long each took. Takes about three minutes, needs root, and leaves nothing behind but the Debian packages that it
installs when they are missing (podman, crun, Charliecloud). Best run while nothing else does.

Options:
  --rounds N          rounds, each with every launch once; the first is not counted (default: 9)
  --slow-rounds N     counted rounds that have podman, which takes seconds at 32 ranks (default: 3)
  --ranks N,N,...     ranks of a launch, 1 to ${String(processorsPerNode)} (default: 1,8,32)
  --idle-seconds N    how long berthd is watched doing nothing; 0 to leave it out (default: 60)
  --settle-seconds N  how long after the last launch that begins (default: 10)
  --json FILE         write every sample, the machine and the targets to a file
  --markdown          print tables as Markdown, as docs/performance.md has them
  --help              print this

Times decide no exit status: 0 when everything was measured, 1 when a launch failed, 2 for a wrong command line.
`;

export interface Options extends Plan {
  readonly idleSeconds: number;
  readonly settleSeconds: number;
  readonly json?: string;
  readonly markdown: boolean;
}

/** A command line that cannot be understood. */
export class UsageError extends Error {}

/**
 * Undefined when only the usage is asked for.
 * @throws UsageError
 */
export function readArguments(argv: readonly string[]): Options | undefined {
  const { values, positionals } = parsed(argv);
  if (values.help || (positionals.length === 0 && argv.length === 0)) return undefined;
  const [command, ...more] = positionals;
  if (command !== 'launch' || more.length > 0) {
    throw new UsageError(`there is the command launch, not "${positionals.join(' ')}"`);
  }
  return {
    rounds: wholeNumber('--rounds', values.rounds, 2, 1000),
    slowRounds: wholeNumber('--slow-rounds', values['slow-rounds'], 0, 1000),
    ranks: [...new Set(values.ranks.split(','))].map((text) => wholeNumber('--ranks', text, 1, processorsPerNode)),
    idleSeconds: wholeNumber('--idle-seconds', values['idle-seconds'], 0, 86_400),
    settleSeconds: wholeNumber('--settle-seconds', values['settle-seconds'], 0, 86_400),
    markdown: values.markdown,
    // npm runs its scripts in the project's directory, whatever the caller's is.
    ...(values.json === undefined ? {} : { json: resolve(process.env['INIT_CWD'] ?? '.', values.json) }),
  };
}

function parsed(argv: readonly string[]) {
  try {
    return parseArgs({
      args: [...argv],
      allowPositionals: true,
      options: {
        rounds: { type: 'string', default: '9' },
        'slow-rounds': { type: 'string', default: '3' },
        ranks: { type: 'string', default: '1,8,32' },
        'idle-seconds': { type: 'string', default: '60' },
        'settle-seconds': { type: 'string', default: '10' },
        json: { type: 'string' },
        markdown: { type: 'boolean', default: false },
        help: { type: 'boolean', short: 'h', default: false },
      },
    });
  } catch (error) {
    throw new UsageError(error instanceof Error ? error.message : String(error), { cause: error });
  }
}

function wholeNumber(option: string, text: string, least: number, most: number): number {
  const value = /^\d{1,6}$/.test(text) ? Number(text) : Number.NaN;
  if (value >= least && value <= most) return value;
  throw new UsageError(`${option} takes whole numbers from ${least} to ${most}, not "${text}"`);
}
