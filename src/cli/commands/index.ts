import type { Command } from '../command.js';
import { config } from './config.js';
import { exec } from './exec.js';
import { health } from './health.js';
import { makeHelp } from './help.js';
import { images } from './images.js';
import { importCommand } from './import.js';
import { login } from './login.js';
import { logout } from './logout.js';
import { ps } from './ps.js';
import { pull } from './pull.js';
import { versionCommand } from './version.js';

/** Every command, in the order of the overview. */
export const commands: readonly Command[] = [
  ps,
  exec,
  images,
  pull,
  importCommand,
  login,
  logout,
  health,
  config,
  versionCommand,
  makeHelp(() => commands),
];
