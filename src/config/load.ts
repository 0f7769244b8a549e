import { open, type FileHandle } from 'node:fs/promises';
import { BerthError, errorCode, reasonOf } from '../errors/index.js';
import type { Config } from './keys.js';
import { parseConfig, type Origins, type Parsed } from './parse.js';

/** Where the configuration is unless a path is given. */
export const DEFAULT_CONFIG_PATH = '/etc/berth/berth.toml';

/** Longest configuration that is read, in bytes. */
const SIZE_LIMIT = 1024 * 1024;

/** A configuration file with at least one error; `message` and `why` tell the first and how many more there are. */
export class ConfigError extends BerthError {
  constructor(readonly problems: readonly [BerthError, ...BerthError[]]) {
    const [first, ...more] = problems;
    const [, file = '', line = '', what = first.what] = /^(.*?):(\d+): (.*)$/s.exec(first.what) ?? [];
    const rest = more.map((problem) => `; also ${problem.what} (${problem.why})`).join('');
    super('BERTH_CONFIG_INVALID', { file, line, what, why: first.why + rest });
  }
}

/**
 * Reads and checks the configuration. Without a path, a missing file at {@link DEFAULT_CONFIG_PATH} stands for the
 * defaults.
 *
 * @throws BerthError BERTH_CONFIG_UNREADABLE when the file cannot be read or, as root, is not safely root's;
 * {@link ConfigError} (BERTH_CONFIG_INVALID) with all of the file's problems.
 */
export async function loadConfig(path?: string): Promise<{ config: Config; origins: Origins }> {
  const { config, origins, problems } = await checkConfig(path);
  const [first, ...more] = problems;
  if (first) throw new ConfigError([first, ...more]);
  return { config, origins };
}

/** As {@link loadConfig}, but returns the file's problems instead of throwing them. */
export async function checkConfig(path?: string): Promise<Parsed> {
  const file = path ?? DEFAULT_CONFIG_PATH;
  try {
    return parseConfig(await readSafely(file), file);
  } catch (cause) {
    if (cause instanceof BerthError) throw cause;
    if (path === undefined && errorCode(cause) === 'ENOENT') return parseConfig('', file);
    throw unreadable(file, reasonOf(cause), cause);
  }
}

async function readSafely(file: string): Promise<string> {
  const handle = await open(file, 'r');
  try {
    await refuseUnsafe(file, handle);
    const bytes = await handle.readFile();
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes);
  } finally {
    await handle.close();
  }
}

/** What is checked is the opened file, not its name: nobody can swap it in between. */
async function refuseUnsafe(file: string, handle: FileHandle): Promise<void> {
  const stat = await handle.stat();
  if (!stat.isFile()) throw unreadable(file, 'it is not a regular file');
  if (stat.size > SIZE_LIMIT)
    throw unreadable(file, `it has ${stat.size} bytes, more than the ${SIZE_LIMIT} that are read`);
  if (process.geteuid?.() !== 0) return;
  if (stat.uid !== 0)
    throw unreadable(file, `it belongs to uid ${stat.uid}, so others than root decide what root does`);
  if ((stat.mode & 0o022) !== 0) {
    const mode = (stat.mode & 0o7777).toString(8).padStart(4, '0');
    throw unreadable(file, `its mode ${mode} lets others than root write to it`);
  }
}

function unreadable(file: string, why: string, cause?: unknown): BerthError {
  return new BerthError('BERTH_CONFIG_UNREADABLE', { file, why }, { cause });
}
