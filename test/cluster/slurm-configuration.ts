/** slurm.conf and plugstack.conf of a cluster. */
import { writeFile } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { ClusterError } from './errors.js';
import { artifacts, loginHost, type Layout } from './layout.js';
import type { Ports } from './ports.js';

export interface SlurmConfiguration {
  readonly nodes: number;
  readonly ports: Ports;
  /** Lines for slurm.conf; a parameter given here replaces the cluster's own. */
  readonly slurmConf?: string;
  /** What each node has besides, such as "Gres=gpu:2". */
  readonly nodeParameters?: string;
  /** Further files of /etc/slurm by name, such as job_container.conf. */
  readonly slurmFiles?: Readonly<Record<string, string>>;
  /** Whether jobs load the Berth plugin. */
  readonly berth: boolean;
  /** Arguments of the plugin in plugstack.conf, as "key=value key=value". */
  readonly plugstackArguments?: string;
  /** Whether the plugin that prepares containers in the prolog is configured too. */
  readonly prepare?: boolean;
}

/** Processors that each node claims to have. More than the machine has, so that wide steps can be tested. */
export const processorsPerNode = 32;

/**
 * What gives each job its own /tmp and /dev/shm by Slurm's job_container/tmpfs, for `slurmConf` and `slurmFiles`.
 * Checked with Slurm 22.05, which has no parameter `Dirs` yet.
 * The base path has to be local to the host. A cluster directory or checkout under /tmp is not visible to such jobs.
 */
export const privateTmp = {
  slurmConf: 'JobContainerType=job_container/tmpfs\nPrologFlags=Contain\n',
  slurmFiles: {
    'job_container.conf': 'AutoBasePath=true\nBasePath=/var/spool/slurmd/containers\n',
  },
} as const;

/** The cluster's own parameters, by name. */
function parameters(layout: Layout, ports: Ports): Map<string, string> {
  return new Map([
    ['ClusterName', 'berth'],
    ['SlurmctldHost', `${loginHost}(127.0.0.1)`],
    ['SlurmctldPort', String(ports.controller)],
    ['SlurmUser', 'root'],
    ['SlurmdUser', 'root'],
    ['AuthType', 'auth/munge'],
    // Without these the daemons listen on all of the machine's addresses.
    ['CommunicationParameters', 'NoInAddrAny,NoCtldInAddrAny'],
    ['StateSaveLocation', layout.state],
    ['SlurmdSpoolDir', '/var/spool/slurmd'],
    ['SlurmctldPidFile', layout.pidFile(loginHost, 'slurmctld')],
    ['SlurmdPidFile', layout.pidFile('%n', 'slurmd')],
    ['SlurmctldLogFile', layout.logFile(loginHost, 'slurmctld')],
    ['SlurmdLogFile', layout.logFile('%n', 'slurmd')],
    ['ProctrackType', 'proctrack/linuxproc'],
    // The nodes' processors are claimed, so there is nothing to bind tasks to.
    ['TaskPlugin', 'task/none'],
    // Whole nodes, as most sites give them: `salloc -N2` and then `srun -n 4` works.
    ['SelectType', 'select/linear'],
    ['SchedulerType', 'sched/backfill'],
    // Seconds. By default a batch job waits for up to 3.
    ['SchedulerParameters', 'batch_sched_delay=0'],
    ['SlurmdParameters', 'config_overrides'],
    ['ReturnToService', '2'],
    ['MpiDefault', 'none'],
    ['MailProg', '/bin/true'],
    ['PlugStackConfig', '/etc/slurm/plugstack.conf'],
    ['InactiveLimit', '0'],
    // Seconds from SIGTERM to SIGKILL for a job's processes; Slurm's 30 would only make tests wait.
    ['KillWait', '2'],
    // Seconds. Hundreds of nodes on few processors answer late.
    ['MessageTimeout', '60'],
  ]);
}

function slurmConf(layout: Layout, configuration: SlurmConfiguration): string {
  const { nodes, ports } = configuration;
  const own = parameters(layout, ports);
  const appended = configuration.slurmConf ?? '';
  // Slurm complains on every command about a parameter given twice.
  for (const [, name = ''] of appended.matchAll(/^\s*(\w+)\s*=/gm)) {
    for (const key of own.keys()) {
      if (key.toLowerCase() === name.toLowerCase()) own.delete(key);
    }
  }
  const range = `[1-${String(nodes)}]`;
  const portRange = `[${String(ports.firstNode)}-${String(ports.firstNode + nodes - 1)}]`;
  return [
    ...Array.from(own, ([key, value]) => `${key}=${value}`),
    `NodeName=n${range} NodeHostname=n${range} NodeAddr=127.0.0.1 Port=${portRange}` +
      ` CPUs=${String(processorsPerNode)} RealMemory=64000 ${configuration.nodeParameters ?? ''} State=UNKNOWN`,
    // FORCE lets jobs run side by side on the same processors, as tests at once need.
    'PartitionName=debug Nodes=ALL Default=YES MaxTime=INFINITE OverSubscribe=FORCE State=UP',
    appended,
    '',
  ].join('\n');
}

function plugstackConf({ plugstackArguments = '', prepare = false }: SlurmConfiguration): string {
  const plugins = [artifacts.plugin, ...(prepare ? [artifacts.prologPlugin] : [])];
  const command = `command=${join(artifacts.programs, 'berth')}`;
  return plugins.map((plugin) => `required ${plugin} ${command} ${plugstackArguments}`.trimEnd() + '\n').join('');
}

/**
 * Writes all of /etc/slurm.
 * @throws ClusterError when a file name is not a plain name or is one of the cluster's own
 */
export async function writeSlurmConfiguration(layout: Layout, configuration: SlurmConfiguration): Promise<void> {
  const files: Record<string, string> = { ...configuration.slurmFiles };
  for (const name of Object.keys(files)) {
    if (name !== basename(name) || name === 'slurm.conf' || name === 'plugstack.conf') {
      throw new ClusterError(
        `Cannot write ${name} to /etc/slurm`,
        'it is not the plain name of a further file',
        'Give a file such as job_container.conf; slurm.conf and plugstack.conf have options of their own.',
      );
    }
  }
  files['slurm.conf'] = slurmConf(layout, configuration);
  files['plugstack.conf'] = configuration.berth ? plugstackConf(configuration) : '';
  await Promise.all(Object.entries(files).map(([name, content]) => writeFile(join(layout.slurmEtc, name), content)));
}
