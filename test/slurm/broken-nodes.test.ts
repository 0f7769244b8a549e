// What docs/troubleshooting.md and docs/migrating.md show of nodes that are broken, or set up otherwise: each is brought
// about, and looks as the page has it. What needs none is tried with the other pages (documentation.test.ts).
import { execFile } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { chmod, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { beforeAll, expect, it } from 'vitest';
import { account } from '../cluster/accounts.js';
import { ending } from '../cluster/command.js';
import { artifacts, repository } from '../cluster/layout.js';
import { program } from '../kernel/helpers/programs.js';
import { missingLine, readPage, type Example } from './documentation/examples.js';
import { ReadersSite } from './documentation/readers-site.js';
import { PageRunner } from './documentation/runner.js';
import { settled } from './leftovers.js';
import { buildPluginOfVersion, usePlugin } from './substitutes.js';
import { changePlugstack } from './plugstack.js';

const run = promisify(execFile);

const PAGES = ['troubleshooting', 'migrating'] as const;

/** Breaks something, and returns what mends it. */
type Breakage = (site: ReadersSite) => Promise<() => Promise<void>>;

/** By the name that the comment before an example gives. The examples use the node n1. */
const breakages: Readonly<Partial<Record<string, Breakage>>> = {
  'berthd-stopped': async ({ cluster }) => {
    await cluster.stopDaemon('n1');
    return () => cluster.startDaemon('n1');
  },
  'other-version': async ({ cluster }) => usePlugin(cluster, await buildPluginOfVersion(99, cluster.dir)),
  'another-plugin-first': async (site) => {
    const plugin = join(site.cluster.dir, 'spank_other.so');
    await run('cc', ['-shared', '-fPIC', '-o', plugin, join(repository, 'test/native/other-plugin.c')]);
    return changePlugstack(site.cluster, (line) => `required ${plugin}\n${line}`);
  },
  'no-plugin-line': (site) => changePlugstack(site.cluster, () => ''),
  'plugin-missing': (site) => changePlugstack(site.cluster, () => 'required /usr/lib/slurm/spank_berth.so\n'),
  'wrong-argument': (site) => changePlugstack(site.cluster, (line) => `${line.trimEnd()} wait=soon\n`),
  'site-imports': (site) => configure(site, { from: 'import = "anyone"', to: 'import = "root"', host: 'login' }),
  'full-store': async (site) => {
    await onHost(site, 'mount -t tmpfs -o size=1m,mode=755 tmpfs /mnt');
    return configure(site, { from: '[store]', to: '[store]\npath = "/mnt"', cleanup: 'umount /mnt' });
  },
  'no-store': async (site) => {
    const started = configure(site, { from: '[store]', to: '[store]\npath = "/nowhere/berth"' });
    await expect(started).rejects.toThrow('it ended');
    return () => site.cluster.startDaemon('n1');
  },
  // A device of which the kernel knows nothing, as where the module is not loaded.
  'no-loop-devices': (site) => replaceDevice(site, '/dev/loop-control', '666 c 10 199'),
  'no-loop-nodes': async (site) => {
    const nodes = 'null zero full random urandom tty loop-control';
    const make = `mkdir -p /run/broken; mount -t tmpfs tmpfs /run/broken; cd /dev; cp -a ${nodes} /run/broken; mkdir /run/broken/shm`;
    await onHost(site, `${make}; mount --bind /dev/shm /run/broken/shm; mount --rbind /run/broken /dev`);
    return () => onHost(site, 'umount -l /dev; umount /run/broken/shm; umount /run/broken; rmdir /run/broken');
  },
  'unknown-pin': async (site) => {
    await onHost(site, 'mkdir /run/berth/containers/0123456789ab');
    return () => onHost(site, 'rmdir /run/berth/containers/0123456789ab');
  },
  'damaged-image': async (site) => {
    await site.must(['berth', 'import', 'app:1', 'troubleshooting/rootfs'], 'alice');
    const { store } = site.cluster.layout;
    const record = await readFile(join(store, `refs/uid-${account('alice').uid}/app:1.json`), 'utf8');
    const [, hex = ''] = /sha256:([0-9a-f]{64})/.exec(record) ?? [];
    const path = join(store, 'images/sha256', `${hex}.squashfs`);
    await chmod(path, 0o666);
    return () => chmod(path, 0o444);
  },
  'no-subordinate-ids': async ({ cluster }) => {
    const path = join(cluster.layout.dir, 'etc/subuid');
    const original = await readFile(path, 'utf8');
    await writeFile(path, '');
    return () => writeFile(path, original);
  },
  'silent-filesystem': async (site) => {
    const change = { from: '[container]', to: '[container]\nbuild_timeout = 3', cleanup: 'umount -l /mnt' };
    const mend = await configure(site, change);
    await onHost(site, 'mount -t tmpfs tmpfs /mnt; mkdir /mnt/dead');
    const server = await site.cluster.spawn('n1', [program('silent-filesystem'), '/mnt/dead'], {
      stdio: ['pipe', 'pipe', 'inherit'],
    });
    if (server.stdout) await once(server.stdout, 'data');
    return async () => {
      server.stdin?.end();
      await ending(server);
      await mend();
    };
  },
  'no-user-namespaces': async ({ cluster }) => {
    await cluster.stopDaemon('n1');
    const argv = [program('forbid-userns'), process.execPath, artifacts.daemon];
    const daemon = await cluster.spawn('n1', argv, { stdio: ['ignore', 'ignore', 'ignore'] });
    const asked = async (): Promise<string[]> =>
      (await cluster.exec('n1', ['berth', 'ps'])).status === 0 ? [] : ['berthd does not answer'];
    expect(await settled(asked)).toEqual([]);
    return async () => {
      daemon.kill();
      await ending(daemon);
      await cluster.startDaemon('n1');
    };
  },
  'closed-fuse': (site) => withFuse(site, () => replaceDevice(site, '/dev/fuse', '600 c 10 229')),
  'no-squashfuse': (site) =>
    withFuse(site, async () => {
      const mendDevice = await replaceDevice(site, '/dev/fuse', '666 c 10 229');
      const mendProgram = await hideProgram(site, 'squashfuse_ll', 'n1');
      return async () => {
        await mendProgram();
        await mendDevice();
      };
    }),
  'no-skopeo': (site) => hideProgram(site, 'skopeo', 'login'),
};

async function onHost(site: ReadersSite, script: string, host = 'n1'): Promise<void> {
  await site.must(['sh', '-euc', script], 'root', host);
}

interface Change {
  /** What stands in the cluster's berth.toml, and what in its place. */
  readonly from: string;
  readonly to: string;
  /** n1, if not here. */
  readonly host?: string;
  /** What a shell does on the host between this berthd and the next. */
  readonly cleanup?: string;
}

/** Gives a host's berthd a configuration of its own. */
async function configure(
  site: ReadersSite,
  { from, to, host = 'n1', cleanup = 'true' }: Change,
): Promise<() => Promise<void>> {
  const { cluster } = site;
  const config = join(cluster.dir, 'broken.toml');
  const usual = await readFile(join(cluster.layout.berthEtc, 'berth.toml'), 'utf8');
  expect(usual).toContain(from);
  await writeFile(config, usual.replace(from, to));
  await cluster.stopDaemon(host);
  await cluster.startDaemon(host, { config });
  return async () => {
    await cluster.stopDaemon(host);
    await onHost(site, cleanup, host);
    await cluster.startDaemon(host);
  };
}

/** Puts another device in the place of one, for the node alone. `numbers` is what mknod takes: mode, type, major, minor. */
async function replaceDevice(site: ReadersSite, path: string, numbers: string): Promise<() => Promise<void>> {
  const device = `mkdir -p /run/broken; mount -t tmpfs tmpfs /run/broken; mknod -m ${numbers.replace(' ', ' /run/broken/device ')}`;
  await onHost(site, `${device}; mount --bind /run/broken/device ${path}`);
  return () => onHost(site, `umount ${path}; umount /run/broken; rmdir /run/broken`);
}

/** Hides a program of /usr/bin, as a whiteout of overlayfs does. */
async function hideProgram(site: ReadersSite, name: string, host: string): Promise<() => Promise<void>> {
  const without = `mkdir -p /run/without; mknod /run/without/${name} c 0 0`;
  await onHost(site, `${without}; mount -t overlay -o ro,lowerdir=/run/without:/usr/bin overlay /usr/bin`, host);
  return () => onHost(site, 'umount -l /usr/bin; rm -r /run/without', host);
}

async function withFuse(
  site: ReadersSite,
  breakMore: () => Promise<() => Promise<void>>,
): Promise<() => Promise<void>> {
  await site.must(
    ['sh', '-c', 'mkdir -p r; mksquashfs r troubleshooting/tools.sqsh -quiet -no-progress -noappend'],
    'alice',
  );
  const mend = await configure(site, { from: '[store]', to: '[store]\nfiles = "fuse"' });
  const mendMore = await breakMore();
  return async () => {
    await mendMore();
    await mend();
  };
}

interface Broken {
  readonly title: string;
  readonly page: string;
  readonly line: number;
  readonly breakage: string;
  /** What is typed, or what berthd's log has. */
  readonly expected: Example | readonly string[];
}

const NOTE = /^<!-- example: not run, on a broken node: (\S+)(?: (.+))? -->$/;

/** A page's examples for broken nodes: without the words that keep the others from trying them, they are examples. */
function brokenExamples(page: string): Broken[] {
  const text = readFileSync(join(repository, 'docs', `${page}.md`), 'utf8');
  const lines = text.split('\n');
  const notes = lines.map((line) => NOTE.exec(line));
  const comment = (words: string | undefined): string => (words === undefined ? '' : `<!-- example: ${words} -->`);
  const { examples } = readPage(lines.map((line, at) => (notes[at] ? comment(notes[at][2]) : line)).join('\n'));
  return notes.flatMap((note, at): Broken[] => {
    const [, breakage = '', words] = note ?? [];
    if (breakage === '') return [];
    const line = at + 2;
    const isLog = words === 'log';
    const example = examples.find((each) => each.line === line);
    const expected = isLog ? lines.slice(at + 2, lines.indexOf('```', at + 2)) : example;
    if (expected === undefined) throw new Error(`line ${line}: this is no example`);
    return [{ title: `${page}.md, line ${line}: ${breakage}`, page, line, breakage, expected }];
  });
}

const broken = PAGES.flatMap(brokenExamples);

let site: ReadersSite;
const runners = new Map<string, PageRunner>();
beforeAll(async () => {
  site = await ReadersSite.start();
  for (const page of PAGES) runners.set(page, await PageRunner.make(site, page));
  await site.must(['sh', '-c', 'mkdir -p troubleshooting/rootfs; echo x > troubleshooting/rootfs/x'], 'alice');
  return () => site.stop();
}, 400_000);

it('every way to break a node is on a page', () => {
  expect(new Set(broken.map(({ breakage }) => breakage))).toEqual(new Set(Object.keys(breakages)));
});

it.each(broken)('$title', async ({ page, breakage, line, expected }) => {
  const mend = await breakages[breakage]?.(site);
  try {
    if ('kind' in expected) await runners.get(page)?.try(expected);
    else expect(missingLine(expected, await berthdLog(), false)).toBeUndefined();
  } catch (error) {
    throw new Error(`docs/${page}.md:${line}: ${error instanceof Error ? error.message : String(error)}`);
  } finally {
    await mend?.();
  }
});

async function berthdLog(): Promise<string[]> {
  return (await readFile(site.cluster.layout.logFile('n1', 'berthd'), 'utf8')).split('\n');
}
