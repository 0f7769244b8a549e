import { execFile } from 'node:child_process';
import { copyFile, mkdir, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { stage, type Source } from './tree.js';

const run = promisify(execFile);

export interface DebianOptions {
  readonly source: Source;
  /** As "1": what stands after the version's dash. */
  readonly revision: string;
  /** Major release of the Slurm that the plugin was built for, as "22.05". */
  readonly slurm: string;
  /** Name and address, as in Debian's control files. */
  readonly maintainer: string;
  /** Seconds since the epoch, for files and changelog: the same sources make the same packages. */
  readonly time: number;
  /** Where the packages go. */
  readonly output: string;
}

/** Builds the Debian packages with debhelper, and returns their files. */
export async function buildDebian(options: DebianOptions): Promise<string[]> {
  const { source, output } = options;
  const work = join(output, 'debian-work');
  await rm(work, { recursive: true, force: true });
  const debian = join(work, 'debian');
  await mkdir(debian, { recursive: true });
  try {
    const plugin = `berth-slurm-${options.slurm}`;
    await writeTemplates(options, debian, plugin);
    const { stdout } = await run('dpkg-architecture', ['-qDEB_HOST_MULTIARCH']);
    const places = {
      unitDir: '/lib/systemd/system',
      zshDir: '/usr/share/zsh/vendor-completions',
      pluginDir: `/usr/lib/${stdout.trim()}/slurm-wlm`,
    };
    await stage('berth', join(debian, 'berth'), source, places);
    await stage('plugin', join(debian, plugin), source, places);
    await stage('shifter', join(debian, 'berth-shifter'), source, places);
    await debhelper(work, source.root, options.time);
    const names = (await readdir(output)).filter(
      (name) => name.endsWith('.deb') && name.includes(`_${versionOf(options)}_`),
    );
    return names.sort().map((name) => join(output, name));
  } finally {
    await rm(work, { recursive: true, force: true });
  }
}

function versionOf({ source, revision }: DebianOptions): string {
  return `${source.version}-${revision}`;
}

async function writeTemplates(options: DebianOptions, debian: string, plugin: string): Promise<void> {
  const { source, slurm, maintainer, time } = options;
  const templates = join(source.root, 'packaging', 'debian');
  const fill = (text: string): string =>
    text
      .replaceAll('@PLUGIN_PACKAGE@', plugin)
      .replaceAll('@SLURM@', slurm)
      .replaceAll('@NEXT_SLURM@', nextRelease(slurm))
      .replaceAll('@MAINTAINER@', maintainer);
  const control = await readFile(join(templates, 'control'), 'utf8');
  await writeFile(join(debian, 'control'), fill(control));
  const overrides = await readFile(join(templates, 'others.lintian-overrides'), 'utf8');
  for (const name of [plugin, 'berth-shifter'])
    await writeFile(join(debian, `${name}.lintian-overrides`), overrides.replaceAll('@PACKAGE@', name));
  for (const script of ['preinst', 'prerm', 'postrm']) {
    await copyFile(join(templates, `plugin.${script}`), join(debian, `${plugin}.${script}`));
  }
  const date = new Date(time * 1000).toUTCString().replace('GMT', '+0000');
  await writeFile(
    join(debian, 'changelog'),
    `berth (${versionOf(options)}) unstable; urgency=medium\n\n  * /usr/share/doc/berth/changelog.gz tells what has changed.\n\n -- ${maintainer}  ${date}\n`,
  );
  for (const name of ['copyright', 'berth.postrm', 'berth.lintian-overrides']) {
    await copyFile(join(templates, name), join(debian, name));
  }
}

/** No release of Slurm, but the least version that is above all of this one: "22.06" for 22.05. */
function nextRelease(slurm: string): string {
  const [year = '', month = ''] = slurm.split('.');
  return `${year}.${String(Number(month) + 1).padStart(2, '0')}`;
}

/** The steps of dh(1) that apply to files which are already in their places. */
async function debhelper(work: string, checkout: string, time: number): Promise<void> {
  const output = join(work, '..');
  const steps: readonly (readonly string[])[] = [
    ['dh_installdocs'],
    ['dh_installchangelogs', join(checkout, 'CHANGELOG.md')],
    ['dh_lintian'],
    ['dh_installtmpfiles', '--package=berth'],
    // Enabled and started as Debian has it. An upgrade restarts berthd when its files are there, without a stop before...
    ['dh_installsystemd', '--package=berth', 'berthd.service'],
    // ...and leaves the socket alone, in which launches wait meanwhile.
    ['dh_installsystemd', '--package=berth', '--no-restart-after-upgrade', '--no-stop-on-upgrade', 'berthd.socket'],
    ['dh_installsystemd', '--package=berth', '--no-enable', '--no-start', '--no-stop-on-upgrade', 'berth-gc.timer'],
    ['dh_strip'],
    // Documents link to each other by their names.
    ['dh_compress', '--exclude=.md'],
    ['dh_fixperms'],
    ['dh_shlibdeps'],
    ['dh_installdeb'],
    ['dh_gencontrol'],
    ['dh_md5sums'],
    ['dh_builddeb', `--destdir=${output}`, '--', '-Zxz'],
  ];
  const env = { ...process.env, SOURCE_DATE_EPOCH: String(time), LC_ALL: 'C.UTF-8' };
  for (const [program = '', ...argv] of steps) {
    try {
      await run(program, argv, { cwd: work, env });
    } catch (error) {
      const words = error instanceof Error && 'stderr' in error ? String(error.stderr) : String(error);
      throw new Error(`${program} ${argv.join(' ')} failed:\n${words}`, { cause: error });
    }
  }
}
