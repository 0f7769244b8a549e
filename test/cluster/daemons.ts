/** Starting and stopping the daemons of a cluster: munged, slurmctld, slurmd and berthd. */
import { spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { copyFile, mkdir, open, readFile, writeFile } from 'node:fs/promises';
import { connect, type NetConnectOpts } from 'node:net';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { ending, runCommand } from './command.js';
import { ClusterError } from './errors.js';
import { artifacts, loginHost, type Layout } from './layout.js';
import { enterHost, markerVariable, searchPath } from './namespaces.js';
import type { Ports } from './ports.js';
import { daemonProcess, signalProcess, waitForEnd } from './processes.js';

/** How berthd is started on one host. */
export interface BerthdOptions {
  /** File that this host sees as /etc/berth/berth.toml, instead of the cluster's. */
  readonly config?: string;
  /** Environment besides PATH and SLURM_CONF. */
  readonly env?: Readonly<Record<string, string>>;
}

const startLimit = 20_000;

/** The end of a log file, for error messages. */
export async function logTail(file: string, lines = 15): Promise<string> {
  const content = await readFile(file, 'utf8').catch(() => '');
  const tail = content.trimEnd().split('\n').slice(-lines).join('\n');
  return tail === '' ? `${file} is empty.` : `The end of ${file}:\n${tail}`;
}

/** Whether something accepts connections there. */
function accepts(address: NetConnectOpts): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(address);
    const done = (answer: boolean): void => {
      socket.destroy();
      resolve(answer);
    };
    socket.once('connect', () => {
      done(true);
    });
    socket.once('error', () => {
      done(false);
    });
  });
}

/** Asks with growing pauses until the answer is true; false when `limit` ms have passed. */
export async function waitUntil(
  limit: number,
  question: () => Promise<boolean>,
  signal?: AbortSignal,
): Promise<boolean> {
  const deadline = Date.now() + limit;
  for (let pause = 5; ; pause = Math.min(2 * pause, 250)) {
    signal?.throwIfAborted();
    if (await question()) return true;
    if (Date.now() > deadline) return false;
    await sleep(pause);
  }
}

/** Runs a program in a host that puts itself into the background once it is ready. */
async function startSystemDaemon(layout: Layout, host: string, argv: readonly string[]): Promise<void> {
  const [program = '', ...args] = [...enterHost(layout, host), ...argv];
  const logFile = layout.logFile(host, `${argv[0] ?? 'daemon'}.start`);
  const log = await open(logFile, 'a');
  try {
    const child = spawn(program, args, {
      env: { PATH: await searchPath(true), [markerVariable]: layout.dir },
      stdio: ['ignore', log.fd, log.fd],
    });
    const { status, signal } = await ending(child);
    if (status !== 0) {
      throw new ClusterError(
        `Cannot start ${argv[0] ?? ''} on ${host}`,
        signal ?? `exit status ${String(status)}`,
        await logTail(logFile),
      );
    }
  } finally {
    await log.close();
  }
}

/** Starts the cluster's munged, which has its own key. */
export async function startMunged(layout: Layout): Promise<void> {
  await mkdir(layout.mungeKey, { mode: 0o700 });
  const key = join(layout.mungeKey, 'munge.key');
  await writeFile(key, randomBytes(128), { mode: 0o400 });
  await startSystemDaemon(layout, loginHost, [
    'munged',
    `--key-file=${key}`,
    '--socket=/run/munge/munge.socket.2',
    `--pid-file=${layout.pidFile(loginHost, 'munged')}`,
    `--log-file=${layout.logFile(loginHost, 'munged')}`,
    `--seed-file=${join(layout.mungeKey, 'munge.seed')}`,
  ]);
}

/** Starts slurmctld and waits until it accepts connections. */
export async function startSlurmctld(layout: Layout, ports: Ports, signal?: AbortSignal): Promise<void> {
  await startSystemDaemon(layout, loginHost, ['slurmctld']);
  const ready = (): Promise<boolean> => accepts({ host: '127.0.0.1', port: ports.controller });
  if (!(await waitUntil(startLimit, ready, signal))) {
    throw new ClusterError(
      'Cannot start slurmctld',
      `it does not listen on port ${String(ports.controller)} after ${String(startLimit / 1000)} s`,
      await logTail(layout.logFile(loginHost, 'slurmctld')),
    );
  }
}

/** Starts the slurmd of a compute host, which registers with slurmctld by itself. */
export async function startSlurmd(layout: Layout, host: string): Promise<void> {
  await startSystemDaemon(layout, host, ['slurmd', '-N', host]);
}

/** Lets a host see a file of its own as /etc/berth/berth.toml, or the cluster's again. */
async function chooseConfig(layout: Layout, host: string, config: string | undefined): Promise<void> {
  const target = '/etc/berth/berth.toml';
  // Fails when the host had no file of its own, which is just as well.
  await runCommand([...enterHost(layout, host), 'umount', target]);
  if (config === undefined) return;
  const own = join(layout.berthEtc, `${host}.toml`);
  await copyFile(config, own).catch((error: unknown) => {
    throw new ClusterError(
      `Cannot read the configuration ${config}`,
      error instanceof Error ? error.message : String(error),
      'Give an existing file.',
    );
  });
  const result = await runCommand([...enterHost(layout, host), 'mount', '--bind', own, target]);
  if (result.status !== 0) {
    throw new ClusterError(`Cannot give ${host} its own ${target}`, result.stderr.trim(), 'See the message above.');
  }
}

/**
 * Starts berthd on a host and waits until it accepts connections. Nothing happens when it runs already.
 * @throws ClusterError with the end of its log when it does not come up
 */
export async function startBerthd(
  layout: Layout,
  host: string,
  options: BerthdOptions = {},
  signal?: AbortSignal,
): Promise<void> {
  if ((await daemonProcess(layout, host, 'berthd')) !== undefined) return;
  await chooseConfig(layout, host, options.config);
  const logFile = layout.logFile(host, 'berthd');
  const log = await open(logFile, 'a');
  const [program, ...args] = [...enterHost(layout, host), process.execPath, artifacts.daemon];
  const child = spawn(program, args, {
    cwd: '/',
    env: { PATH: await searchPath(true), SLURM_CONF: '/etc/slurm/slurm.conf', ...options.env },
    stdio: ['ignore', log.fd, log.fd],
    detached: true,
  });
  let end: string | undefined;
  const watch = ending(child).then(
    ({ status, signal: by }) => {
      end = by ?? `exit status ${String(status)}`;
    },
    (error: unknown) => {
      end = String(error);
    },
  );
  await log.close();
  const { pid } = child;
  if (pid !== undefined) await writeFile(layout.pidFile(host, 'berthd'), `${String(pid)}\n`);
  const ready = async (): Promise<boolean> =>
    end !== undefined || (await accepts({ path: `/proc/${String(pid)}/root/run/berth/berthd.sock` }));
  const isReady = await waitUntil(startLimit, ready, signal);
  if (end !== undefined) await watch;
  child.unref();
  if (end !== undefined || !isReady) {
    throw new ClusterError(
      `Cannot start berthd on ${host}`,
      end === undefined ? `no connection is accepted after ${String(startLimit / 1000)} s` : `it ended: ${end}`,
      await logTail(logFile),
    );
  }
}

/**
 * Ends berthd on a host and waits until it is gone: by SIGTERM, or at once by SIGKILL.
 * @returns false when it was not running
 * @throws ClusterError when it is still there after 20 s
 */
export async function endBerthd(layout: Layout, host: string, signal: 'SIGTERM' | 'SIGKILL'): Promise<boolean> {
  const pid = await daemonProcess(layout, host, 'berthd');
  if (pid === undefined) return false;
  signalProcess(pid, signal);
  if (!(await waitForEnd(layout, host, 'berthd', startLimit))) {
    throw new ClusterError(
      `Cannot stop berthd on ${host}`,
      `process ${String(pid)} is still there ${String(startLimit / 1000)} s after ${signal}`,
      signal === 'SIGTERM' ? 'Use `cluster daemon … kill`.' : `See /proc/${String(pid)}/stack for where it hangs.`,
    );
  }
  return true;
}
