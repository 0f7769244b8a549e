/** A private Slurm cluster of any number of nodes on this machine. */
import { spawn, type ChildProcess, type StdioOptions } from 'node:child_process';
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { account, writeAccounts } from './accounts.js';
import { forEachLimited, requireCommand, runCommand, type CommandResult } from './command.js';
import {
  endBerthd,
  logTail,
  startBerthd,
  startMunged,
  startSlurmctld,
  startSlurmd,
  waitUntil,
  type BerthdOptions,
} from './daemons.js';
import { ClusterError } from './errors.js';
import {
  artifacts,
  clusterDirectory,
  computeHosts,
  Layout,
  loginHost,
  readRecord,
  writeRecord,
  type ClusterRecord,
} from './layout.js';
import { checkDirectory, createHosts, enterHost, pinnedNamespace, searchPath } from './namespaces.js';
import { checkMachine, claimDirectory } from './preparation.js';
import { maxNodes, reservePorts, type Ports } from './ports.js';
import { daemonProcess } from './processes.js';
import { writeSlurmConfiguration } from './slurm-configuration.js';
import { tearDown } from './teardown.js';

export interface ClusterOptions {
  /** The cluster's directory; made if it does not exist. */
  readonly dir: string;
  /** Compute nodes, 1 to 1000. */
  readonly nodes: number;
  /** Text of berth.toml. Empty by default. */
  readonly berthConfig?: string;
  /** Lines for slurm.conf; a parameter given here replaces the cluster's own. */
  readonly slurmConf?: string;
  /** What each node has besides, such as "Gres=gpu:2". */
  readonly nodeParameters?: string;
  /** Further files of /etc/slurm by name, such as job_container.conf. */
  readonly slurmFiles?: Readonly<Record<string, string>>;
  /** Arguments of the plugin in plugstack.conf, as "key=value key=value". */
  readonly plugstackArguments?: string;
  /** False for a cluster without plugin and berthd. */
  readonly berth?: boolean;
  /** True for a cluster with users whom no file of /etc has, but the name service. */
  readonly nameService?: boolean;
  /** Hosts on which berthd is not started. */
  readonly withoutDaemon?: readonly string[];
  /** Ends the start; what was started until then is removed. */
  readonly signal?: AbortSignal;
}

export interface ExecOptions {
  /** Name of the user; root by default. */
  readonly user?: string;
  /** Environment besides HOME, USER, LOGNAME, SHELL and PATH. */
  readonly env?: Readonly<Record<string, string>>;
}

export interface CaptureOptions extends ExecOptions {
  /** Text given on stdin. */
  readonly stdin?: string;
  /** Milliseconds until the command is ended, which is reported as a ClusterError. */
  readonly timeout?: number;
}

/** A node as Slurm sees it. */
export interface NodeState {
  /** Base state in capitals, such as IDLE, MIXED, ALLOCATED, DOWN. */
  readonly state: string;
  /** What is added to the state, such as DRAIN, COMPLETING, NOT_RESPONDING. */
  readonly flags: readonly string[];
  /** The administrator's or Slurm's reason, "" when there is none. */
  readonly reason: string;
}

/** A running cluster. */
export class Cluster {
  readonly hosts: readonly string[];
  readonly layout: Layout;

  private constructor(
    layout: Layout,
    private readonly record: ClusterRecord,
  ) {
    this.layout = layout;
    this.hosts = [loginHost, ...computeHosts(record.nodes)];
  }

  get dir(): string {
    return this.layout.dir;
  }

  /** Number of compute nodes. */
  get nodes(): number {
    return this.record.nodes;
  }

  /** Whether jobs load the plugin and berthd is run. */
  get berth(): boolean {
    return this.record.berth;
  }

  /**
   * Starts a cluster: all nodes are idle and every berthd accepts connections when it returns. After a failure
   * nothing is left.
   * @throws ClusterError
   */
  static async up(options: ClusterOptions): Promise<Cluster> {
    const { nodes, berth = true } = options;
    if (!Number.isInteger(nodes) || nodes < 1 || nodes > maxNodes) {
      throw new ClusterError(
        'Cannot start a cluster',
        `${String(nodes)} is not a number of nodes`,
        `Give a whole number from 1 to ${String(maxNodes)}.`,
      );
    }
    const hosts = [loginHost, ...computeHosts(nodes)];
    const withoutDaemon = options.withoutDaemon ?? [];
    for (const host of withoutDaemon) requireHost(host, hosts);
    await checkMachine(berth);
    const layout = new Layout(await clusterDirectory(options.dir));
    checkDirectory(layout.dir);

    const record = await claimDirectory(layout, { nodes, berth });
    const cluster = new Cluster(layout, record);
    const reservation = await reservePorts(nodes).catch(async (error: unknown) => {
      await tearDown(layout);
      throw error;
    });
    try {
      await cluster.start(reservation.ports, options, withoutDaemon);
      options.signal?.throwIfAborted();
      await writeRecord(layout, { ...record, complete: true });
    } catch (error) {
      await tearDown(layout);
      throw error;
    } finally {
      await reservation.release();
    }
    return cluster;
  }

  /**
   * The cluster that was started in a directory, by any process.
   * @throws ClusterError when there is none, or only a half-made one
   */
  static async attach(dir: string): Promise<Cluster> {
    const layout = new Layout(await clusterDirectory(dir));
    const record = await readRecord(layout);
    if (record === undefined) {
      throw new ClusterError(
        `Cannot use ${layout.dir}`,
        'there is no cluster in it',
        'Start one with `cluster up`, or give the directory that was given there.',
      );
    }
    if (!record.complete) {
      throw new ClusterError(
        `Cannot use ${layout.dir}`,
        'the cluster in it is not up yet, or its start or removal was interrupted',
        `Wait for \`cluster up\` to end, or remove it: cluster down --dir ${layout.dir}`,
      );
    }
    return new Cluster(layout, record);
  }

  /**
   * Removes the cluster in a directory, also one that never came up.
   * @returns false when there was none
   * @throws ClusterError when something of it cannot be removed
   */
  static async down(dir: string): Promise<boolean> {
    return tearDown(new Layout(await clusterDirectory(dir)));
  }

  /** Removes this cluster. Also when it has gone already. */
  async down(): Promise<void> {
    await tearDown(this.layout);
  }

  private async start(ports: Ports, options: ClusterOptions, withoutDaemon: readonly string[]): Promise<void> {
    const { layout } = this;
    await this.writeFiles(ports, options);
    await createHosts(layout, this.hosts, options.signal);
    await startMunged(layout);
    await startSlurmctld(layout, ports, options.signal);
    const daemons = this.berth ? this.hosts.filter((host) => !withoutDaemon.includes(host)) : [];
    await forEachLimited(computeHosts(this.nodes), 8, (host) => startSlurmd(layout, host));
    await forEachLimited(daemons, 4, (host) => startBerthd(layout, host, {}, options.signal));
    await this.waitForIdleNodes(options.signal);
  }

  private async writeFiles(ports: Ports, options: ClusterOptions): Promise<void> {
    const { layout } = this;
    const directories = [
      layout.namespaces,
      layout.slurmEtc,
      layout.berthEtc,
      layout.home,
      layout.store,
      layout.log,
      layout.mungeSocket,
      layout.state,
      ...['lib/berth', 'spool/slurmd', 'stage'].map((name) => join(layout.mountPoints, name)),
      ...this.hosts.map((host) => join(layout.spool, host)),
    ];
    for (const directory of directories) await mkdir(directory, { recursive: true });
    await Promise.all([
      writeAccounts(layout, options.nameService),
      writeFile(
        join(layout.etc, 'hosts'),
        `127.0.0.1 localhost\n${this.hosts.map((host) => `127.0.0.1 ${host}\n`).join('')}`,
      ),
      writeFile(join(layout.berthEtc, 'berth.toml'), options.berthConfig ?? ''),
      writeSlurmConfiguration(layout, { ...options, ports, berth: this.berth, prepare: asksToPrepare(options) }),
    ]);
  }

  private async waitForIdleNodes(signal: AbortSignal | undefined): Promise<void> {
    const started = Date.now();
    const limit = 30_000 + 200 * this.nodes;
    // slurmd reads its plugins' files only after it has put itself into the background.
    const deathCheckDelay = 2_000;
    let waiting: string[] = [];
    let dead: string | undefined;
    const settled = async (): Promise<boolean> => {
      const result = await this.exec(loginHost, ['sinfo', '--noheader', '--Node', '--format=%N %T']);
      const states = result.status === 0 ? result.stdout.trim().split('\n') : [];
      waiting = states.filter((line) => !/ (idle|mixed|allocated)$/.test(line));
      if (states.length === this.nodes && waiting.length === 0) return true;
      if (Date.now() - started < deathCheckDelay) return false;
      for (const node of waiting.map((line) => line.split(' ')[0] ?? '')) {
        if ((await daemonProcess(this.layout, node, 'slurmd')) === undefined) dead = node;
      }
      return dead !== undefined;
    };
    const isSettled = await waitUntil(limit, settled, signal);
    if (isSettled && dead === undefined) return;
    const [first = ''] = waiting;
    const shown = waiting.slice(0, 5).join(', ');
    throw new ClusterError(
      'The cluster does not come up',
      dead === undefined
        ? `${String(waiting.length)} nodes are not idle after ${String(limit / 1000)} s: ${shown}`
        : `slurmd on ${dead} has ended`,
      [
        await logTail(this.layout.logFile(dead ?? first.split(' ')[0] ?? '', 'slurmd')),
        await logTail(this.layout.logFile(loginHost, 'slurmctld')),
      ].join('\n'),
    );
  }

  /** The command line and environment that run a command in a host. */
  private async command(host: string, argv: readonly string[], options: ExecOptions) {
    requireHost(host, this.hosts);
    if ((await pinnedNamespace(this.layout.mountNamespace(host), 'mnt')) === undefined) {
      throw new ClusterError(
        `Cannot enter ${host}`,
        'its namespaces are not there: the cluster is not (or no longer) up, or this is another mount namespace',
        `Run \`cluster down --dir ${this.dir}\`, then \`cluster up\` again.`,
      );
    }
    const { name, uid, gid, home, shell } = account(options.user ?? 'root');
    const become = uid === 0 ? [] : ['setpriv', `--reuid=${name}`, `--regid=${String(gid)}`, '--init-groups', '--'];
    return {
      argv: [...enterHost(this.layout, host), `--wdns=${home}`, '--', ...become, ...argv],
      env: {
        HOME: home,
        USER: name,
        LOGNAME: name,
        SHELL: shell,
        PATH: await searchPath(uid === 0, artifacts.programs),
        ...options.env,
      },
    };
  }

  /**
   * Runs a command in a host to its end, whatever its exit status, and gives what it wrote.
   * @throws ClusterError when it cannot be run or takes longer than `timeout`
   */
  async exec(host: string, argv: readonly string[], options: CaptureOptions = {}): Promise<CommandResult> {
    const command = await this.command(host, argv, options);
    return runCommand(command.argv, {
      env: command.env,
      ...(options.stdin === undefined ? {} : { stdin: options.stdin }),
      ...(options.timeout === undefined ? {} : { timeout: options.timeout }),
    });
  }

  /**
   * Starts a command in a host. The child process is the command itself: signals sent to it are the command's.
   * @throws ClusterError when the cluster is not up
   */
  async spawn(
    host: string,
    argv: readonly string[],
    options: ExecOptions & { readonly stdio?: StdioOptions } = {},
  ): Promise<ChildProcess> {
    const command = await this.command(host, argv, options);
    const [program = '', ...args] = command.argv;
    return spawn(program, args, { env: command.env, stdio: options.stdio ?? 'pipe' });
  }

  /**
   * A node's state as Slurm reports it.
   * @throws ClusterError when slurmctld does not answer
   */
  async nodeState(node: string): Promise<NodeState> {
    requireHost(node, this.hosts);
    const command = await this.command(loginHost, ['scontrol', '--oneliner', 'show', 'node', node], {});
    const output = await requireCommand(command.argv, { env: command.env });
    const [state = 'UNKNOWN', ...flags] = (/ State=(\S+)/.exec(output)?.[1] ?? 'UNKNOWN').split('+');
    return { state, flags, reason: / Reason=(.*?)(?: \[[^\]]*\])?\s*$/m.exec(output)?.[1] ?? '' };
  }

  /** The process id of a host's berthd, or undefined when it does not run. */
  async daemonStatus(host: string): Promise<number | undefined> {
    requireHost(host, this.hosts);
    return daemonProcess(this.layout, host, 'berthd');
  }

  /** Starts berthd on a host and waits until it accepts connections; nothing happens when it runs already. */
  async startDaemon(host: string, options: BerthdOptions = {}): Promise<void> {
    requireHost(host, this.hosts);
    await startBerthd(this.layout, host, options);
  }

  /** Ends a host's berthd with SIGTERM and waits for its end. @returns false when it did not run */
  async stopDaemon(host: string): Promise<boolean> {
    requireHost(host, this.hosts);
    return endBerthd(this.layout, host, 'SIGTERM');
  }

  /** Ends a host's berthd with SIGKILL and waits for its end. @returns false when it did not run */
  async killDaemon(host: string): Promise<boolean> {
    requireHost(host, this.hosts);
    return endBerthd(this.layout, host, 'SIGKILL');
  }
}

function requireHost(host: string, hosts: readonly string[]): void {
  if (hosts.includes(host)) return;
  throw new ClusterError(
    `Cannot use host ${host}`,
    'the cluster has no such host',
    `Its hosts are ${loginHost} and ${hosts.length === 2 ? 'n1' : `n1 to n${String(hosts.length - 1)}`}.`,
  );
}

/** A site that has berthd prepare containers also configures the plugin that asks for it. */
function asksToPrepare({ berthConfig = '' }: ClusterOptions): boolean {
  return /^\s*prepare\s*=\s*true\b/m.test(berthConfig);
}
