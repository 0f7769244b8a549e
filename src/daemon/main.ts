import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { setFlagsFromString } from 'node:v8';
import { destination, pino, type Logger } from 'pino';
import { loadConfig, type Config } from '../config/index.js';
import { Builders, Registry } from '../container/index.js';
import { BerthError, formatError, toErrorMessage, reasonOf } from '../errors/index.js';
import { Journal } from '../events/index.js';
import { Health } from '../health/index.js';
import { ImageStore } from '../image/index.js';
import { Designer, Holders, Launcher, PathImages, Puller, removeHookBundles, Saves } from '../launch/index.js';
import { manualText } from '../manual/index.js';
import { Modules } from '../modules/index.js';
import { native } from '../native/index.js';
import { v1, version } from '../protocol/index.js';
import { Handlers } from './handlers.js';
import { ImportSessions } from './imports.js';
import { daemonManual } from './manual.js';
import { Meters } from './meters.js';
import { Observer } from './observer.js';
import { PullSessions } from './pulls.js';
import { Reconciler } from './reconcile.js';
import { serve } from './server.js';
import { Tidier } from './tidy.js';
import { RequestLog } from './report.js';
import { Uses } from './uses.js';
import { openDoor } from './web/index.js';

function argumentsOf(argv: readonly string[]): { config?: string; help?: boolean; version?: boolean } {
  try {
    return parseArgs({
      args: [...argv],
      options: { config: { type: 'string' }, help: { type: 'boolean', short: 'h' }, version: { type: 'boolean' } },
    }).values;
  } catch (error) {
    const why = reasonOf(error);
    throw new BerthError(
      'BERTH_USAGE',
      { what: 'berthd was not called rightly', why, command: 'berthd' },
      { cause: error },
    );
  }
}

/** Puts the daemon together. Resolves when it is ready for clients. */
async function start(config: Config, configFile: string | undefined, log: Logger): Promise<() => void> {
  const { runtimeDirectory } = config.daemon;
  const workspace = join(runtimeDirectory, 'workspace');
  mkdirSync(workspace, { recursive: true, mode: 0o755 });
  const registry = new Registry(join(runtimeDirectory, 'containers'));
  const journal = new Journal();
  const meters = new Meters();
  const observer = new Observer(journal, meters);
  registry.onBuilt = (container) => observer.containerBuilt(container);
  registry.onEnded = (container) => observer.containerEnded(container);
  const store = await ImageStore.open(config.store);
  const designer = new Designer(config, new Modules(config.modules), workspace);
  const builders = new Builders();
  const launcher = new Launcher(config, store, registry, designer, builders);
  const uses = new Uses(registry, store, log);
  const puller = new Puller(config, store, join(runtimeDirectory, 'berthd.sock'));
  const pathImages = new PathImages(config, store.files, store.turns);
  const holders = new Holders(registry, (container) => uses.endOne(container), log);
  const reconciler = new Reconciler(registry, launcher, pathImages, join(runtimeDirectory, 'ended'), uses, log);
  const requests = new RequestLog(log);
  const tidier = new Tidier();
  tidier.busy();
  const imports = new ImportSessions();
  const pulls = new PullSessions({ config, registry, store, requests, observer });
  const health = new Health({
    config,
    configFile,
    containers: () => registry.all(),
    eventsFault: () => door.fault,
    report: (done) => log.warn(done),
    onNodeChange: (change) => observer.nodeChanged(change),
    onResults: (results) => observer.healthFound(results),
  });
  const door = openDoor({ config, registry, store, health, journal, meters, observer, log, busy: () => tidier.busy() });
  const handlers = new Handlers({
    config,
    designer,
    launcher,
    holders,
    puller,
    pathImages,
    saves: new Saves(config, store, registry),
    registry,
    store,
    imports,
    pulls,
    reconciler,
    health,
    uses,
    observer,
    log,
    requests,
  });
  // The lock comes first: what is adopted and removed below must belong to no other berthd.
  const server = await serve(
    join(runtimeDirectory, 'berthd.sock'),
    join(runtimeDirectory, 'berthd.lock'),
    (request, connection) => {
      tidier.busy();
      return handlers.handle(request, connection);
    },
    (error, connection, request) => {
      requests.failure(error, connection, request);
      if (request?.launch) observer.launchFailed(new v1.LaunchRequest(request.launch), error);
    },
    (socket, { uid }) => {
      door.acceptLocal(socket, { uid });
    },
    log,
  );
  const adopted = registry.adopt();
  removeHookBundles(runtimeDirectory);
  const removed = await store.recover();
  void reconciler.atStart();
  void holders.atStart();
  builders.keepSpare();
  health.atStart();
  observer.started(adopted);
  await door.open();
  tellSystemd('READY=1');
  log.info({ version, adopted, removed, socket: join(runtimeDirectory, 'berthd.sock') }, 'berthd is ready');
  return () => {
    tellSystemd('STOPPING=1');
    server.close();
    door.close();
    builders.end();
  };
}

function tellSystemd(message: string): void {
  const socket = process.env['NOTIFY_SOCKET'];
  if (socket !== undefined) native.notify(socket, message);
}

// Threads wait for file systems, some of which may hang; Node's usual four would be gone with one such store. They cost
// nothing until they are needed.
process.env['UV_THREADPOOL_SIZE'] ??= '16';

// Optimised code is for what runs hot for long. Making it costs a launch processors that its ranks need, and leaves
// 3 MiB in the heaps of V8's threads.
setFlagsFromString('--no-opt');

// A burst of launches makes V8 have its space for new objects grow to 32 MiB, which it gives back after minutes, and not when told
// to. Kept at the 2 MiB that it begins with, it is tidied more often: with 2000 launches, a tenth more processor time.
setFlagsFromString('--semi-space-growth-factor=1');
native.shareArenas();

async function main(): Promise<void> {
  const options = argumentsOf(process.argv.slice(2));
  if (options.help) {
    process.stdout.write(`${manualText(daemonManual, (title) => title)}\n`);
    return;
  }
  if (options.version) {
    process.stdout.write(`berthd ${version}\n`);
    return;
  }
  if (process.geteuid?.() !== 0) {
    throw new BerthError('BERTH_NOT_PERMITTED', {
      what: 'running berthd',
      uid: process.geteuid?.() ?? -1,
      why: 'it mounts images and writes id maps, which only root can',
      hint: 'it is started by systemd: systemctl start berthd',
    });
  }
  process.umask(0o022);
  const { config } = await loadConfig(options.config);
  const log = pino(
    { level: config.daemon.logLevel, base: {}, timestamp: pino.stdTimeFunctions.isoTime },
    destination({ fd: 2, sync: true }),
  );
  process.on('unhandledRejection', (reason) => {
    log.error(
      { code: 'BERTH_INTERNAL', stack: reason instanceof Error ? reason.stack : String(reason) },
      'unhandled failure',
    );
  });
  const running: { stop?: () => void } = {};
  const end = (signal: string): void => {
    log.info({ signal }, 'berthd ends; containers stay');
    running.stop?.();
    process.exit(0);
  };
  process.once('SIGTERM', end);
  process.once('SIGINT', end);
  running.stop = await start(config, options.config, log);
}

main().catch((error: unknown) => {
  const message = toErrorMessage(error);
  process.stderr.write(`${formatError(message)}\n`);
  process.exit(message.exitStatus);
});
