import { existsSync } from 'node:fs';
import { chmod, copyFile, mkdir, readdir, readFile, rename, rm, symlink, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { defaultConfiguration } from '../../src/config/index.js';
import { bashCompletion } from './completion/bash.js';
import { fishCompletion } from './completion/fish.js';
import { zshCompletion } from './completion/zsh.js';
import { bundledLicenses } from './licenses.js';
import { renderedPages } from './manual/pages.js';

/**
 * The packages: Berth itself; its plugin, which depends on Slurm's version; and Shifter's commands, apart because a host may
 * have the real ones.
 */
export type Part = 'berth' | 'plugin' | 'shifter';

/** Where a distribution has its files. */
export interface Places {
  /** systemd's units. */
  readonly unitDir: string;
  /** Functions that zsh finds by itself. */
  readonly zshDir: string;
  /** Slurm's PluginDir. */
  readonly pluginDir: string;
}

export interface Source {
  /** The project's checkout. */
  readonly root: string;
  /** Where its plugins were built, if not in build/lib: against the headers of another Slurm. */
  readonly plugins?: string;
  readonly version: string;
  /** YYYY-MM-DD. */
  readonly date: string;
}

type Content = { readonly from: string } | { readonly text: string } | { readonly link: string } | 'directory';

interface Item {
  readonly path: string;
  readonly content: Content;
  readonly mode: number;
}

/**
 * Puts what a package installs under a directory, as it is to lie on a node. Debian's packages and the RPMs are both made
 * from this.
 */
export async function stage(part: Part, destination: string, source: Source, places: Places): Promise<void> {
  const parts = { berth: berthItems, plugin: pluginItems, shifter: shifterItems };
  const items = await parts[part](source, places);
  for (const item of items) await put(item, join(destination, item.path));
}

/** Puts one item into its place. What is there is replaced in one step, as it may be running; configuration is left alone. */
async function put({ path, content, mode }: Item, target: string): Promise<void> {
  await mkdir(content === 'directory' ? target : dirname(target), { recursive: true, mode: 0o755 });
  if (content === 'directory') {
    await chmod(target, mode);
    return;
  }
  if (path.startsWith('/etc/') && existsSync(target)) return;
  const unfinished = `${target}.new`;
  await rm(unfinished, { force: true });
  if ('link' in content) {
    await symlink(content.link, unfinished);
  } else {
    if ('from' in content) await copyFile(content.from, unfinished);
    else await writeFile(unfinished, content.text);
    await chmod(unfinished, mode);
  }
  await rename(unfinished, target);
}

async function berthItems(source: Source, { unitDir, zshDir }: Places): Promise<Item[]> {
  const { root, version, date } = source;
  const built = (...path: string[]): Content => ({ from: join(root, 'build', ...path) });
  const packaged = (...path: string[]): Content => ({ from: join(root, 'packaging', ...path) });
  // What berthd starts, all of it: a helper that is missing would be noticed on nodes only.
  const helpers = (await readdir(join(root, 'build', 'bin'))).filter((name) => name.startsWith('berth-'));
  const modules = await readdir(join(root, 'share', 'modules.d'));
  const pages = renderedPages(root, version, date);
  const documents = (await readdir(join(root, 'docs'), { recursive: true })).filter((name) => name.endsWith('.md'));
  return [
    program('/usr/bin/berth', built('bin', 'berth')),
    // Programs that strip debugging information look for executable files.
    program('/usr/lib/berth/berth.node', built('lib', 'berth.node')),
    ...helpers
      .filter((name) => name !== 'berth-healthcheck')
      .map((name) => program(`/usr/lib/berth/${name}`, built('bin', name))),
    { path: '/usr/lib/berth/berth-healthcheck', content: { link: '../../bin/berth' }, mode: 0 },
    ...['berthd.js', 'cli.js', 'yaml.js', 'ws.js', 'canary.squashfs', 'package.json'].map((name) =>
      file(`/usr/lib/berth/${name}`, built('lib', name)),
    ),
    ...['index.html', 'page.css', 'page.js', 'icon.svg'].map((name) =>
      file(`/usr/lib/berth/page/${name}`, built('lib', 'page', name)),
    ),
    ...['berthd.socket', 'berthd.service', 'berth-gc.service', 'berth-gc.timer'].map((name) =>
      file(`${unitDir}/${name}`, packaged('systemd', name)),
    ),
    file('/usr/lib/tmpfiles.d/berth.conf', packaged('tmpfiles.conf')),
    file('/etc/berth/berth.toml', { text: defaultConfiguration() }),
    directory('/etc/berth/modules.d'),
    directory('/etc/berth/health.d'),
    directory('/var/lib/berth'),
    file('/usr/share/doc/berth/third-party-licenses', { text: bundledLicenses(root) }),
    // Messages name them as "docs/health.md", and so they lie beside each other as in the project.
    ...['SECURITY.md', ...documents.map((name) => join('docs', name))].map((name) =>
      file(`/usr/share/doc/berth/${name}`, { from: join(root, name) }),
    ),
    ...modules.map((name) =>
      file(`/usr/share/berth/modules.d/${name}`, { from: join(root, 'share', 'modules.d', name) }),
    ),
    ...[...pages].filter(([name]) => name.startsWith('berth')).map(([name, text]) => file(manualPath(name), { text })),
    file('/usr/share/bash-completion/completions/berth', { text: bashCompletion() }),
    file(`${zshDir}/_berth`, { text: zshCompletion() }),
    file('/usr/share/fish/vendor_completions.d/berth.fish', { text: fishCompletion() }),
  ];
}

async function pluginItems(source: Source, { pluginDir }: Places): Promise<Item[]> {
  const { root, plugins = join(root, 'build', 'lib'), version, date } = source;
  const template = await readFile(join(root, 'packaging', 'plugstack.conf'), 'utf8');
  const page = 'spank_berth.8';
  return [
    ...['spank_berth.so', 'spank_berth_prolog.so'].map((name) =>
      file(`${pluginDir}/${name}`, { from: join(plugins, name) }),
    ),
    file('/etc/slurm/plugstack.conf.d/berth.conf', { text: template.replaceAll('@PLUGIN_DIR@', pluginDir) }),
    file(manualPath(page), { text: renderedPages(root, version, date).get(page) ?? '' }),
  ];
}

/** Links to the command, which knows by what name it is called. */
function shifterItems({ root, version, date }: Source): Promise<Item[]> {
  const page = 'shifter.1';
  return Promise.resolve([
    ...['shifter', 'shifterimg'].map((name) => ({ path: `/usr/bin/${name}`, content: { link: 'berth' }, mode: 0 })),
    file(manualPath(page), { text: renderedPages(root, version, date).get(page) ?? '' }),
    file(manualPath('shifterimg.1'), { text: '.so man1/shifter.1\n' }),
  ]);
}

function manualPath(name: string): string {
  return `/usr/share/man/man${name.slice(-1)}/${name}`;
}

function program(path: string, content: Content): Item {
  return { path, content, mode: 0o755 };
}

function file(path: string, content: Content): Item {
  return { path, content, mode: 0o644 };
}

function directory(path: string): Item {
  return { path, content: 'directory', mode: 0o755 };
}
