// packaging/berth.spec: that rpmbuild makes packages of it with the same files as Debian's.
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { builtPackages } from './packages.js';

const root = join(import.meta.dirname, '..', '..');
const directory = mkdtempSync(join(tmpdir(), 'berth-rpm-'));
let rpms: readonly string[] = [];

function run(program: string, ...argv: string[]): string {
  return execFileSync(program, argv, { encoding: 'utf8', stdio: 'pipe', maxBuffer: 1 << 26 });
}

beforeAll(() => {
  const defines = [
    `_topdir ${directory}`,
    `_dbpath ${directory}/db`,
    `berth_source ${root}`,
    'berth_built 1',
    // Debian's rpm does not say where Slurm's packages have it, nor has it what takes debugging information out.
    '_libdir /usr/lib64',
    '_sharedstatedir /var/lib',
    'debug_package %{nil}',
  ].flatMap((define) => ['--define', define]);
  // What it is built with is not installed as RPMs here.
  run('rpmbuild', '-bb', '--nodeps', '--quiet', ...defines, join(root, 'packaging', 'berth.spec'));
  const output = join(directory, 'RPMS');
  rpms = readdirSync(output, { recursive: true, encoding: 'utf8' })
    .filter((name) => name.endsWith('.rpm'))
    .sort()
    .map((name) => join(output, name));
}, 120_000);
afterAll(() => {
  rmSync(directory, { recursive: true });
});

/** A path as both kinds of packages have it. */
function common(path: string): string {
  return path
    .replace(/\.gz$/, '')
    .replace(/^\/usr\/lib\/[a-z0-9_]+-linux-gnu\/slurm-wlm/, '/usr/lib64/slurm')
    .replace(/^\/lib\/systemd/, '/usr/lib/systemd')
    .replace('vendor-completions', 'site-functions');
}

function filesOf(paths: readonly string[]): string[] {
  // What each kind has of its own: the changelog's place, and lintian's files.
  const own = /^\/usr\/share\/(doc\/berth[^/]*\/(changelog|copyright|README|CHANGELOG)|licenses|lintian)|\.build-id/;
  return [...new Set(paths.map(common))].filter((path) => path !== '' && !own.test(path)).sort();
}

describe('the RPMs', () => {
  it('have the version of package.json', () => {
    const { version } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as { version: string };
    const names = rpms.map((file) => run('rpm', '-qp', '--nosignature', '--qf', '%{NAME} %{VERSION}', file));
    expect(names).toEqual(['berth', 'berth-shifter', 'berth-slurm'].map((name) => `${name} ${version}`));
  });

  it("have the files of Debian's packages", () => {
    const { berth, plugin, shifter } = builtPackages();
    const debian = [berth, plugin, shifter].flatMap((file) =>
      run('dpkg-deb', '--contents', file)
        .split('\n')
        .filter((line) => line !== '' && !line.startsWith('d'))
        .map((line) => (line.split(/\s+/)[5] ?? '').replace(/^\./, '')),
    );
    const ours = rpms.flatMap((file) =>
      run('rpm', '-qp', '--nosignature', '--qf', '[%{FILEMODES:perms} %{FILENAMES}\n]', file)
        .split('\n')
        .filter((line) => !line.startsWith('d'))
        .map((line) => line.split(' ')[1] ?? ''),
    );
    expect(filesOf(ours)).toEqual(filesOf(debian));
    expect(filesOf(ours)).toContain('/usr/lib64/slurm/spank_berth.so');
  });

  it('keep what the site has changed', () => {
    const kept = rpms.flatMap((file) => run('rpm', '-qp', '--nosignature', '--configfiles', file).split('\n'));
    expect(kept.filter((path) => path !== '')).toEqual([
      '/etc/berth/berth.toml',
      '/etc/slurm/plugstack.conf.d/berth.conf',
    ]);
  });

  it('need the Slurm that the plugin is for', () => {
    const needs = rpms.map((file) => run('rpm', '-qp', '--nosignature', '--requires', file));
    expect(needs[0]).toContain('nodejs >= 20');
    expect(needs[2]).toContain('slurm >= 22.05');
  });
});
