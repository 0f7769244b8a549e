/**
 * npm run package: Debian packages of this checkout, in build/packages.
 *
 *   --revision N            what stands after the version's dash; 1 unless given
 *   --slurm-headers DIR     the plugin for the Slurm whose slurm/spank.h is under DIR, as scripts/slurm-headers.sh fetches it
 *   --check                 try them: on a clean Debian that systemd runs, by lintian, and beside the RPMs of packaging/berth.spec
 *   --stage DIR             no packages: put the files where they belong below DIR, as packaging/berth.spec has it done
 *   --unit-dir, --zsh-dir, --plugin-dir PATH      with --stage: where the distribution has these
 *
 * DEBFULLNAME and DEBEMAIL say who makes the packages, SOURCE_DATE_EPOCH of when they are.
 */
import { execFileSync, spawnSync } from 'node:child_process';
import { mkdirSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { buildDebian } from './debian.js';
import { buildPlugins, slurmRelease, SYSTEM_HEADERS } from './plugins.js';
import { stage, type Source } from './tree.js';

const root = join(dirname(fileURLToPath(import.meta.url)), '..', '..');

function manifestVersion(): string {
  const manifest: unknown = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'));
  if (typeof manifest === 'object' && manifest !== null && 'version' in manifest) return String(manifest.version);
  throw new Error('package.json has no version');
}

/** Of the last commit, so that the same sources make the same packages. */
function sourceTime(): number {
  const { SOURCE_DATE_EPOCH } = process.env;
  if (SOURCE_DATE_EPOCH !== undefined) return Number(SOURCE_DATE_EPOCH);
  try {
    return Number(execFileSync('git', ['-C', root, 'log', '-1', '--format=%ct'], { encoding: 'utf8', stdio: 'pipe' }));
  } catch {
    // Not a checkout of git's.
    return Math.floor(Date.now() / 1000);
  }
}

/** Installs and tries the packages, and has them looked at by lintian and rpmbuild. Returns the exit status. */
function check(): number {
  const argv = ['scripts/with-setup.sh', 'vitest', 'run', '--config', 'test/package/vitest.config.ts'];
  const env = { ...process.env, BERTH_PACKAGES: 'lintian rpm mmdebstrap' };
  return spawnSync('sh', argv, { cwd: root, env, stdio: 'inherit' }).status ?? 1;
}

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      revision: { type: 'string', default: '1' },
      'slurm-headers': { type: 'string' },
      check: { type: 'boolean', default: false },
      stage: { type: 'string' },
      'unit-dir': { type: 'string', default: '/usr/lib/systemd/system' },
      'zsh-dir': { type: 'string', default: '/usr/share/zsh/site-functions' },
      'plugin-dir': { type: 'string', default: '/usr/lib64/slurm' },
    },
  });
  const time = sourceTime();
  const headers = values['slurm-headers'];
  const output = join(root, 'build', 'packages');
  mkdirSync(output, { recursive: true });
  const source: Source = {
    root,
    version: manifestVersion(),
    date: new Date(time * 1000).toISOString().slice(0, 10),
    ...(headers === undefined ? {} : { plugins: buildPlugins(root, headers) }),
  };
  if (values.stage !== undefined) {
    const places = { unitDir: values['unit-dir'], zshDir: values['zsh-dir'], pluginDir: values['plugin-dir'] };
    await stage('berth', values.stage, source, places);
    await stage('plugin', values.stage, source, places);
    await stage('shifter', values.stage, source, places);
    return;
  }
  const { DEBFULLNAME = 'Berth packagers', DEBEMAIL = 'berth@packages.invalid' } = process.env;
  const packages = await buildDebian({
    source,
    revision: values.revision,
    slurm: slurmRelease(headers ?? SYSTEM_HEADERS),
    maintainer: `${DEBFULLNAME} <${DEBEMAIL}>`,
    time,
    output,
  });
  for (const file of packages) console.log(file);
  if (values.check) process.exitCode = check();
}

main().catch((error: unknown) => {
  console.error(error instanceof Error ? error.message : String(error));
  process.exitCode = 1;
});
