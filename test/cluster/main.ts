/** The command line of the test cluster: `npm run cluster -- --help`. */
import { readFile } from 'node:fs/promises';
import { constants } from 'node:os';
import { basename } from 'node:path';
import {
  environment,
  isCommandName,
  operands,
  parseArguments,
  requiredText,
  text,
  texts,
  usage,
  UsageError,
  type Arguments,
} from './arguments.js';
import { Cluster, type ClusterOptions } from './cluster.js';
import { ending } from './command.js';
import { ClusterError, errorMessage } from './errors.js';
import { commandHelp, generalHelp, type CommandName } from './help.js';
import { clusterStatus, formatStatus } from './status.js';

const exitHarnessError = 125;
const exitNotRunning = 3;

async function readGiven(path: string): Promise<string> {
  try {
    return await readFile(path, 'utf8');
  } catch (error) {
    throw new ClusterError(`Cannot read ${path}`, errorMessage(error), 'Give an existing file.');
  }
}

function wholeNumber(value: string): number {
  if (!/^[0-9]+$/.test(value)) throw usage('up', `--nodes ${value} is not a number`);
  return Number(value);
}

async function upOptions(parsed: Arguments): Promise<ClusterOptions> {
  const berthConfig = text('up', parsed, 'berth-config');
  const slurmConf = text('up', parsed, 'slurm-conf');
  const plugstackArguments = text('up', parsed, 'plugstack-args');
  const slurmFiles = await Promise.all(
    texts(parsed, 'slurm-file').map(async (path) => [basename(path), await readGiven(path)] as const),
  );
  return {
    dir: requiredText('up', parsed, 'dir'),
    nodes: wholeNumber(requiredText('up', parsed, 'nodes')),
    berth: parsed.values['no-berth'] !== true,
    withoutDaemon: (text('up', parsed, 'no-daemon') ?? '').split(',').filter((host) => host !== ''),
    slurmFiles: Object.fromEntries(slurmFiles),
    ...(berthConfig === undefined ? {} : { berthConfig: await readGiven(berthConfig) }),
    ...(slurmConf === undefined ? {} : { slurmConf: await readGiven(slurmConf) }),
    ...(plugstackArguments === undefined ? {} : { plugstackArguments }),
  };
}

async function up(parsed: Arguments): Promise<number> {
  operands('up', parsed, []);
  const options = await upOptions(parsed);
  const controller = new AbortController();
  let interruption: NodeJS.Signals | undefined;
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
    process.on(signal, () => {
      interruption = signal;
      controller.abort(new ClusterError('cluster up', `interrupted by ${signal}`, 'What had been started is removed.'));
    });
  }
  let cluster: Cluster;
  try {
    cluster = await Cluster.up({ ...options, signal: controller.signal });
  } catch (error) {
    if (interruption === undefined) throw error;
    process.stderr.write(`cluster up: interrupted by ${interruption}; what had been started is removed.\n`);
    return 128 + constants.signals[interruption];
  }
  const status = await clusterStatus(cluster);
  if (parsed.values['json'] === true) {
    process.stdout.write(`${JSON.stringify(status, null, 2)}\n`);
  } else {
    process.stdout.write(
      `The cluster in ${cluster.dir} is up: login and ${String(cluster.nodes)} ${cluster.nodes === 1 ? 'node' : 'nodes'}${cluster.berth ? '' : ', without Berth'}.\n` +
        `Try: npm run cluster -- exec --dir ${cluster.dir} login --user alice -- srun -N${String(cluster.nodes)} hostname\n`,
    );
  }
  return 0;
}

/** Whether the terminal itself sends its interrupts to this process group, and so to the command as well. */
async function isTerminalForeground(): Promise<boolean> {
  const stat = await readFile('/proc/self/stat', 'utf8');
  const [, , group, , terminal, foreground] = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  return terminal !== '0' && group === foreground;
}

async function exec(parsed: Arguments): Promise<number> {
  const [host] = operands('exec', parsed, ['HOST']);
  if (parsed.command.length === 0) throw usage('exec', 'there is no command after --');
  const cluster = await Cluster.attach(requiredText('exec', parsed, 'dir'));
  const user = text('exec', parsed, 'user');
  const term = process.env['TERM'];
  const child = await cluster.spawn(host, parsed.command, {
    ...(user === undefined ? {} : { user }),
    env: { ...(term === undefined ? {} : { TERM: term }), ...environment('exec', parsed) },
    stdio: 'inherit',
  });
  for (const signal of ['SIGINT', 'SIGQUIT', 'SIGTERM', 'SIGHUP', 'SIGUSR1', 'SIGUSR2', 'SIGCONT'] as const) {
    process.on(signal, () => {
      // srun takes two interrupts in short order as the wish to kill the job.
      const fromTerminal =
        signal === 'SIGINT' || signal === 'SIGQUIT' ? isTerminalForeground() : Promise.resolve(false);
      void fromTerminal.then((already) => already || child.kill(signal));
    });
  }
  const end = await ending(child);
  return end.signal === null ? (end.status ?? exitHarnessError) : 128 + constants.signals[end.signal];
}

async function daemon(parsed: Arguments): Promise<number> {
  const [host, action] = operands('daemon', parsed, ['HOST', 'start, stop, kill or status']);
  const cluster = await Cluster.attach(requiredText('daemon', parsed, 'dir'));
  const config = text('daemon', parsed, 'config');
  switch (action) {
    case 'start':
      await cluster.startDaemon(host, {
        env: environment('daemon', parsed),
        ...(config === undefined ? {} : { config }),
      });
      return 0;
    case 'stop':
      await cluster.stopDaemon(host);
      return 0;
    case 'kill':
      await cluster.killDaemon(host);
      return 0;
    case 'status': {
      const pid = await cluster.daemonStatus(host);
      process.stdout.write(
        pid === undefined ? `berthd does not run on ${host}\n` : `berthd runs on ${host} as process ${String(pid)}\n`,
      );
      return pid === undefined ? exitNotRunning : 0;
    }
    default:
      throw usage('daemon', `${action} is none of start, stop, kill, status`);
  }
}

async function status(parsed: Arguments): Promise<number> {
  operands('status', parsed, []);
  const found = await clusterStatus(await Cluster.attach(requiredText('status', parsed, 'dir')));
  process.stdout.write(parsed.values['json'] === true ? `${JSON.stringify(found, null, 2)}\n` : formatStatus(found));
  return found.healthy ? 0 : exitNotRunning;
}

async function down(parsed: Arguments): Promise<number> {
  operands('down', parsed, []);
  const dir = requiredText('down', parsed, 'dir');
  const removed = await Cluster.down(dir);
  process.stdout.write(removed ? `The cluster in ${dir} is removed.\n` : `There is no cluster in ${dir}.\n`);
  return 0;
}

const commands: Readonly<Record<CommandName, (parsed: Arguments) => Promise<number>>> = {
  up,
  exec,
  daemon,
  status,
  down,
};

async function main(argv: readonly string[]): Promise<number> {
  const [name, ...rest] = argv;
  if (name === undefined || name === '--help' || name === '-h' || name === 'help') {
    process.stdout.write(generalHelp);
    return name === undefined ? 2 : 0;
  }
  if (!isCommandName(name)) {
    throw new UsageError('cluster', `${name} is not a command`, 'See: npm run cluster -- --help');
  }
  const parsed = parseArguments(name, rest);
  if (parsed.values['help'] === true) {
    process.stdout.write(commandHelp[name]);
    return 0;
  }
  return commands[name](parsed);
}

const argv = process.argv.slice(2);
try {
  process.exitCode = await main(argv);
} catch (error) {
  process.stderr.write(`${error instanceof ClusterError ? error.message : `cluster: ${errorMessage(error)}`}\n`);
  const usageStatus = error instanceof UsageError ? 2 : 1;
  process.exitCode = argv[0] === 'exec' ? exitHarnessError : usageStatus;
}
