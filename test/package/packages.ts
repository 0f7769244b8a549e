/** Packages besides those that `npm run package` has made. */
import { execFileSync } from 'node:child_process';
import { copyFileSync, mkdirSync, readdirSync, readFileSync, realpathSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { slurmRelease, SYSTEM_HEADERS } from '../../scripts/package/plugins.js';

const output = join(import.meta.dirname, '..', '..', 'build', 'packages');

/** The newest packages in build/packages: of Berth, of its plugin for this machine's Slurm, and of Shifter's commands. */
export function builtPackages(): { berth: string; plugin: string; shifter: string } {
  const { version } = JSON.parse(readFileSync(join(output, '..', '..', 'package.json'), 'utf8')) as { version: string };
  const find = (expression: RegExp): string => {
    const name = readdirSync(output).find((one) => expression.test(one) && one.includes(`_${version}-`));
    if (name === undefined) throw new Error(`${output} has no package ${expression}: run npm run package`);
    return join(output, name);
  };
  return {
    berth: find(/^berth_/),
    plugin: find(new RegExp(`^berth-slurm-${slurmRelease(SYSTEM_HEADERS)}_`)),
    shifter: find(/^berth-shifter_/),
  };
}

/** The same package as the next revision of it, in a directory. */
export function nextRevision(file: string, directory: string): string {
  const tree = join(directory, 'tree');
  execFileSync('dpkg-deb', ['--raw-extract', file, tree]);
  const control = join(tree, 'DEBIAN', 'control');
  const text = readFileSync(control, 'utf8');
  const [, version = ''] = /^Version: (.*)$/m.exec(text) ?? [];
  writeFileSync(control, text.replaceAll(version, `${version}+next`));
  const [name = ''] = file.split('/').slice(-1);
  const next = join(directory, name.replace(version, `${version}+next`));
  pack(tree, next);
  return next;
}

/** Node.js 20 for a Debian 12, which has none: the program that runs this, as a package such as other sources have it. */
export function nodePackage(directory: string): string {
  const tree = join(directory, 'tree');
  mkdirSync(join(tree, 'DEBIAN'), { recursive: true });
  mkdirSync(join(tree, 'usr', 'bin'), { recursive: true });
  copyFileSync(realpathSync(process.execPath), join(tree, 'usr', 'bin', 'node'));
  const [version] = process.version.slice(1).split('-');
  const architecture = execFileSync('dpkg', ['--print-architecture'], { encoding: 'utf8' }).trim();
  const fields = [
    'Package: nodejs',
    `Version: ${version ?? ''}-1test`,
    `Architecture: ${architecture}`,
    'Maintainer: Nobody <nobody@packages.invalid>',
    'Depends: libc6, libstdc++6',
    'Description: Node.js, to test Berth with',
  ];
  writeFileSync(join(tree, 'DEBIAN', 'control'), `${fields.join('\n')}\n`);
  const file = join(directory, 'nodejs.deb');
  pack(tree, file);
  return file;
}

function pack(tree: string, file: string): void {
  // Fast rather than small.
  execFileSync('dpkg-deb', ['--build', '--root-owner-group', '-Zgzip', '-z1', tree, file], { stdio: 'pipe' });
  rmSync(tree, { recursive: true });
}
