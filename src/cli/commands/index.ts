import type { Command } from '../command.js';
import { archive } from './archive.js';
import { build } from './build.js';
import { config } from './config.js';
import { env } from './env.js';
import { events } from './events.js';
import { exec } from './exec.js';
import { explain } from './explain.js';
import { exportCommand } from './export.js';
import { gc } from './gc.js';
import { health } from './health.js';
import { makeHelp } from './help.js';
import { images } from './images.js';
import { importCommand } from './import.js';
import { inspect } from './inspect.js';
import { login } from './login.js';
import { logout } from './logout.js';
import { logs } from './logs.js';
import { metrics } from './metrics.js';
import { migrate } from './migrate.js';
import { modules } from './modules.js';
import { ps } from './ps.js';
import { pull } from './pull.js';
import { rmi } from './rmi.js';
import { run } from './run.js';
import { share } from './share.js';
import { stop } from './stop.js';
import { tag } from './tag.js';
import { token } from './token.js';
import { top } from './top.js';
import { verify } from './verify.js';
import { versionCommand } from './version.js';
import { wait } from './wait.js';

/** Every command, in the order of the overview. */
export const commands: readonly Command[] = [
  run,
  ps,
  exec,
  logs,
  stop,
  wait,
  explain,
  env,
  modules,
  images,
  pull,
  build,
  importCommand,
  exportCommand,
  migrate,
  inspect,
  tag,
  share,
  rmi,
  verify,
  gc,
  login,
  logout,
  health,
  top,
  events,
  metrics,
  token,
  config,
  versionCommand,
  makeHelp(() => commands),
];

/** What berthd runs, and nobody else. */
export const internalCommands: readonly Command[] = [archive];
