import { readdirSync, readFileSync } from 'node:fs';
import { homedir } from 'node:os';
import { isAbsolute, join, resolve } from 'node:path';
import { nearest } from '../../config/index.js';
import { BerthError, errorCode, reasonOf } from '../../errors/index.js';

/** Where the site keeps definition files for everybody. */
const SITE = '/etc/berth/environments';

type Variables = Readonly<Record<string, string | undefined>>;

/** Where definition files are looked for by name: $EDF_PATH, or the user's own directory, and then the site's. */
export function searchPath(variables: Variables): string[] {
  const own = variables['EDF_PATH'];
  const first = own === undefined || own === '' ? [join(variables['HOME'] ?? homedir(), '.edf')] : own.split(':');
  return [...first.filter((directory) => isAbsolute(directory)), SITE];
}

/**
 * The path of the definition file that a text stands for: a path, or a name without ".toml" in the search path.
 *
 * @param beside where a path is relative to
 * @throws BerthError BERTH_ENVIRONMENT_UNKNOWN
 */
export function findDefinition(text: string, beside: string, variables: Variables): string {
  if (text.includes('/') || text.endsWith('.toml')) return resolve(beside, text);
  const directories = searchPath(variables);
  for (const directory of directories) {
    if (namesIn(directory).includes(text)) return join(directory, `${text}.toml`);
  }
  const near = nearest(text, directories.flatMap(namesIn));
  const places = directories.join(', ');
  const why = `${near === undefined ? '' : `did you mean ${near}? `}there is no ${text}.toml in ${places}`;
  throw new BerthError('BERTH_ENVIRONMENT_UNKNOWN', { name: text, why });
}

/** The names that a directory has definition files for; none where it cannot be read. */
export function namesIn(directory: string): string[] {
  try {
    return readdirSync(directory)
      .filter((name) => name.endsWith('.toml'))
      .map((name) => name.slice(0, -'.toml'.length))
      .sort();
  } catch {
    return [];
  }
}

/** @throws BerthError BERTH_ENVIRONMENT_UNKNOWN */
export function readDefinitionFile(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch (error) {
    const why = errorCode(error) === 'ENOENT' ? `there is no file ${path}` : reasonOf(error);
    throw new BerthError('BERTH_ENVIRONMENT_UNKNOWN', { name: path, why }, { cause: error });
  }
}
