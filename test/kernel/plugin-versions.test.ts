import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';

const root = join(import.meta.dirname, '..', '..');

/** Symbols that a plugin may have: what Slurm looks for (spank.h), and what SPANK_PLUGIN defines. */
const EXPORTS = /^(slurm_spank_\w+|plugin_(name|type|version)|spank_plugin_version)$/;

function symbols(library: string, which: '--defined-only' | '--undefined-only'): string[] {
  const text = execFileSync('nm', ['--dynamic', '--format=just-symbols', which, library], { encoding: 'utf8' });
  return text
    .split('\n')
    .map((line) => line.replace(/@.*/, ''))
    .filter((name) => name !== '');
}

/** The value of an unsigned constant that a library exports. */
function readOnlyNumber(library: string, name: string): number {
  const text = execFileSync('nm', ['--dynamic', library], { encoding: 'utf8' });
  const address = Number.parseInt(text.split('\n').find((line) => line.endsWith(` R ${name}`)) ?? '', 16);
  // Read-only data lies in the file where it lies in memory: the segment that holds it starts at a whole page of both.
  return readFileSync(library).readUInt32LE(address);
}

describe.each([
  ['spank_berth.so', 'slurm_spank_task_init'],
  ['spank_berth_prolog.so', 'slurm_spank_job_prolog'],
])('the SPANK plugin %s', (name, callback) => {
  const library = join(root, 'build', 'lib', name);

  it('exports what Slurm looks for and nothing else', () => {
    const names = symbols(library, '--defined-only');
    expect(names).toContain(callback);
    // Slurm runs a program before each job for whatever plugin has this.
    expect(names.includes('slurm_spank_job_prolog')).toBe(callback === 'slurm_spank_job_prolog');
    expect(names.filter((name) => !EXPORTS.test(name))).toEqual([]);
  });

  it('needs no library but the C library, so that none can be missing on a node', () => {
    const needed = execFileSync('objdump', ['-p', library], { encoding: 'utf8' }).match(/NEEDED\s+\S+/g);
    expect(needed?.map((line) => line.split(/\s+/)[1])).toEqual(['libc.so.6']);
  });

  it('takes from Slurm only functions of spank.h', () => {
    const header = readFileSync('/usr/include/slurm/spank.h', 'utf8');
    const fromSlurm = symbols(library, '--undefined-only').filter((name) => /^(slurm|spank)_/.test(name));
    expect(fromSlurm.length).toBeGreaterThan(0);
    expect(fromSlurm.filter((name) => !header.includes(name))).toEqual([]);
  });
});

describe('the SPANK plugin, built against', () => {
  const directory = mkdtempSync(join(tmpdir(), 'berth-plugin-'));
  afterAll(() => {
    rmSync(directory, { recursive: true });
  });

  // The Slurm of this machine (22.05) is what everything else is tested with. These are Debian's next ones.
  it.each(['trixie', 'sid'])('the Slurm of Debian %s, has no warnings and names that version', (suite) => {
    const headers = join(directory, suite);
    execFileSync('sh', [join(root, 'scripts', 'slurm-headers.sh'), suite, headers], { stdio: 'pipe' });
    const include = join(headers, 'usr', 'include');
    const output = join(directory, `${suite}-output`);
    const build = join(directory, `${suite}-build`);
    const options = ['-DBERTH_ONLY_PLUGIN=ON', `-DBERTH_SLURM_INCLUDE=${include}`, `-DBERTH_OUTPUT=${output}`];
    execFileSync('cmake', ['-S', root, '-B', build, ...options], { stdio: 'pipe' });
    execFileSync('cmake', ['--build', build], { stdio: 'pipe' });

    const library = join(output, 'lib', 'spank_berth.so');
    const version = /SLURM_VERSION_NUMBER (0x[0-9a-f]+)/.exec(
      readFileSync(join(include, 'slurm', 'slurm_version.h'), 'utf8'),
    )?.[1];
    expect(Number(version)).toBeGreaterThan(0x160508);
    expect(readOnlyNumber(library, 'plugin_version')).toBe(Number(version));
  });
});
