import { lstatSync, statSync } from 'node:fs';
import { dirname, isAbsolute, join } from 'node:path';
import { checkConfig, DEFAULT_CONFIG_PATH } from '../../config/index.js';
import { BerthError, reasonOf } from '../../errors/index.js';
import { builderExecutable } from '../../native/index.js';
import { version } from '../../protocol/index.js';
import { fail, pass, some, unknown, warn, type Check, type Context, type Verdict } from '../check.js';
import { noteOf } from '../notes.js';
import { exists, readSmall } from '../places.js';
import { probeInstalled, type ProbeSession } from '../probe.js';
import { linesOf, type SlurmFacts } from '../slurm-facts.js';

/** The name of the plugin's file, wherever a site puts it. */
const PLUGIN = 'spank_berth.so';

/** Berth itself: is what is installed one whole, and Slurm's to use? */
export const installationChecks: readonly Check[] = [
  {
    id: 'daemon',
    family: 'installation',
    reads: "berthd's socket, first from the client's side",
    rule: "berthd answers the client; its socket is where clients look for it, root's, in a directory that root alone may write to, and everybody may connect",
    matters: 'without berthd no container can be started on the node',
    hint: 'systemctl status berthd tells why; where it runs, systemctl restart berthd.socket berthd makes its socket anew; containers that run go on, new ones cannot start',
    run: ({ config }) => {
      const socket = join(config.daemon.runtimeDirectory, 'berthd.sock');
      const found = lstatSync(socket, { throwIfNoEntry: false });
      if (!found) return fail(`berthd runs, but its socket ${socket} is gone`);
      if (!found.isSocket() || found.uid !== 0) return fail(`${socket} is not a socket of root's`);
      if ((found.mode & 0o666) !== 0o666)
        return fail(`users may not connect to ${socket}: its mode is ${octal(found)}`);
      const fault = unsafePath(config.daemon.runtimeDirectory);
      return fault === undefined ? pass(`berthd ${version} answers on ${socket}`) : fail(fault);
    },
  },
  {
    id: 'versions',
    family: 'installation',
    reads:
      'the version notes in berth.node, berth-builder, berth-opener, berth-cachefile, berth-packer, berth-saver, berth-devices, berth-fuse-server, berth-entrypoint, berth-shifter, berth-probe, berth and the plugin',
    rule: 'all have the version of the running berthd',
    matters: 'a half-finished upgrade fails launches with BERTH_PROTOCOL_VERSION, or in ways nobody has tested',
    hint: 'install the same version of all packages of Berth, then restart berthd',
    run: ({ slurm }) => {
      if (!probeInstalled()) return fail('berth-probe is not beside berth-builder');
      const others = [...ownFiles(), ...pluginFiles(slurm)].flatMap((path) => {
        const found = versionOf(path);
        return found === version ? [] : [`${path} is ${found}`];
      });
      return others.length === 0 ? pass(`all are ${version}`) : fail(`berthd is ${version}, but ${some(others)}`);
    },
  },
  {
    id: 'plugin',
    family: 'installation',
    reads: 'plugstack.conf beside slurm.conf, and the plugin it names, with the directories above it',
    rule: `${PLUGIN} is listed as required, is there, and only root can have written it`,
    matters: 'without it srun knows no --image; as optional, ranks run outside when it fails; slurmd loads it as root',
    hint: 'docs/administrators.md has the line for plugstack.conf; the plugin belongs to root, mode 0755',
    run: ({ slurm }) => {
      if (!slurm) return pass('no slurm.conf on this node');
      const lines = pluginLines(slurm);
      const [line] = lines;
      if (!line) return fail(`${slurm.plugstack} does not list ${PLUGIN}`);
      if (line.kind !== 'required') return fail(`${slurm.plugstack} lists ${line.path} as ${line.kind}, not required`);
      const fault = unsafePath(line.path);
      return fault === undefined ? pass(`${line.path} is required, and root's alone`) : fail(fault);
    },
  },
  {
    id: 'plugin-slurm',
    family: 'installation',
    reads: "the plugin's version note, and slurmd -V",
    rule: 'the plugin was built for the major release of Slurm that is installed',
    matters:
      'with a plugin of another release every job fails on the node, the first drains it, and slurmd does not start',
    hint: 'install the plugin package for this release of Slurm; resume the node if Slurm has drained it',
    needs: ['plugin'],
    run: async ({ slurm, probe, memory }) => {
      const [path] = pluginFiles(slurm);
      if (path === undefined) return pass('no plugin of Berth on this node');
      const built = noteOf(path)?.slurm ?? '';
      const running = await slurmRelease(
        probe,
        memory.get('slurm release', () => ({ release: '', asked: 0 })),
      );
      if (running === '') return unknown('slurmd -V does not tell a release');
      return built === running
        ? pass(`built for Slurm ${built}, which is installed`)
        : fail(`${path} was built for Slurm ${built || 'of an unknown release'}, and ${running} is installed`);
    },
  },
  {
    id: 'configuration',
    family: 'installation',
    reads: DEFAULT_CONFIG_PATH,
    rule: 'it is valid, and has not changed since berthd started',
    matters: 'with an invalid file berthd does not start again, and what it does now is not what the file says',
    hint: 'berth config check shows every mistake; a valid change is taken up when berthd is restarted',
    run: (context) => checkConfiguration(context),
  },
  {
    id: 'events-address',
    family: 'installation',
    reads: '[events] listen of berth.toml',
    rule: 'berthd serves it, where it is set',
    matters: 'nobody sees the node page, and metrics and events are not collected; launches go on',
    hint: "as root, berth token tells why, as does berthd's log; then systemctl restart berthd",
    run: ({ config, eventsFault }) => {
      const { listen } = config.events;
      if (listen === '') return pass('nothing is to be served over the network');
      const fault = eventsFault();
      return fault === undefined ? pass(`${listen} is served`) : warn(`${listen} is not served: ${fault}`);
    },
  },
];

async function checkConfiguration({ config, configFile }: Context): Promise<Verdict> {
  const name = configFile ?? DEFAULT_CONFIG_PATH;
  try {
    const { config: now, problems } = await checkConfig(configFile);
    const [first] = problems;
    if (first) return fail(`${first.what} (${first.why})`);
    const changed = JSON.stringify(now) !== JSON.stringify(config);
    return changed ? warn(`${name} has changed since berthd started`) : pass(`${name} is what berthd runs with`);
  } catch (error) {
    return fail(error instanceof BerthError ? `${error.what}: ${error.why}` : reasonOf(error));
  }
}

/** What is installed of Berth besides berthd.js, where it may lie as seen from the builder. */
function ownFiles(): string[] {
  const beside = dirname(builderExecutable);
  const files = [
    'berth-builder',
    'berth-opener',
    'berth-cachefile',
    'berth-packer',
    'berth-saver',
    'berth-devices',
    'berth-fuse-server',
    'berth-entrypoint',
    'berth-shifter',
    'berth-probe',
    'berth',
    'berth.node',
    '../lib/berth.node',
  ].map((name) => join(beside, name));
  return [...files, '/usr/bin/berth'].filter((path) => exists(path));
}

function versionOf(path: string): string {
  try {
    return noteOf(path)?.version ?? 'without a version';
  } catch (error) {
    return reasonOf(error);
  }
}

interface PluginLine {
  readonly kind: string;
  readonly path: string;
}

/** The lines of plugstack.conf for the plugin. */
function pluginLines(slurm: SlurmFacts): PluginLine[] {
  const text = readSmall(slurm.plugstack) ?? '';
  return [...linesOf(text, dirname(slurm.plugstack), 0)].flatMap((line) => {
    const [kind = '', path = ''] = line.split(/\s+/);
    if (path.split('/').at(-1) !== PLUGIN) return [];
    const directory = slurm.get('PluginDir')?.split(':')[0] ?? '/usr/lib/slurm';
    return [{ kind, path: isAbsolute(path) ? path : join(directory, path) }];
  });
}

/** The plugin's file, if it is there: that it should be is another check. */
function pluginFiles(slurm: SlurmFacts | undefined): string[] {
  return slurm ? pluginLines(slurm).flatMap(({ path }) => (exists(path) ? [path] : [])) : [];
}

/** What lets somebody besides root say what slurmd runs as root. */
function unsafePath(path: string): string | undefined {
  for (let at = path; ; at = dirname(at)) {
    const found = statSync(at, { throwIfNoEntry: false });
    if (!found) return `${at} is not there`;
    if (found.uid !== 0) return `${at} belongs to uid ${found.uid}`;
    const isSticky = (found.mode & 0o1000) !== 0;
    if ((found.mode & 0o022) !== 0 && !isSticky)
      return `others than root may write to ${at}: its mode is ${octal(found)}`;
    if (at === dirname(at)) return undefined;
  }
}

function octal({ mode }: { readonly mode: number }): string {
  return (mode & 0o7777).toString(8).padStart(4, '0');
}

/** How long what slurmd said of itself is believed, in milliseconds: it costs more than the other checks. */
const RELEASE_AGE = 3_600_000;

async function slurmRelease(probe: ProbeSession, known: { release: string; asked: number }): Promise<string> {
  if (known.release !== '' && performance.now() - known.asked < RELEASE_AGE) return known.release;
  const { output } = await probe.run(['slurmd', '-V']);
  known.release = /^slurm\S* (\d+\.\d+)/m.exec(output)?.[1] ?? '';
  known.asked = performance.now();
  return known.release;
}
