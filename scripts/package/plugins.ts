import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';

/** Where a system's own headers are; slurm/spank.h lies below it. */
export const SYSTEM_HEADERS = '/usr/include';

/**
 * The major release of the Slurm that headers are of, as "22.05".
 *
 * @throws Error where there are none.
 */
export function slurmRelease(headers: string): string {
  const text = readFileSync(join(headers, 'slurm', 'slurm_version.h'), 'utf8');
  // SLURM_VERSION_NUM(a,b,c) of slurm.h: a byte each.
  const [, digits = ''] = /SLURM_VERSION_NUMBER\s+0x([0-9a-f]+)/.exec(text) ?? [];
  const number = Number.parseInt(digits, 16);
  if (Number.isNaN(number)) throw new Error(`${headers}/slurm/slurm_version.h tells no version`);
  return [number >> 16, (number >> 8) & 0xff].map((part) => String(part).padStart(2, '0')).join('.');
}

/** Builds the plugins against the headers of another Slurm. Returns the directory that they are in. */
export function buildPlugins(root: string, headers: string): string {
  const release = slurmRelease(headers);
  const output = join(root, 'build', `slurm-${release}`);
  const options = ['-DBERTH_ONLY_PLUGIN=ON', `-DBERTH_SLURM_INCLUDE=${headers}`, `-DBERTH_OUTPUT=${output}`];
  execFileSync('cmake', ['-S', root, '-B', join(output, 'cmake'), ...options], { stdio: 'pipe' });
  execFileSync('cmake', ['--build', join(output, 'cmake')], { stdio: 'pipe' });
  return join(output, 'lib');
}
