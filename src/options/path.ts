import { posix } from 'node:path';
import { BerthError } from '../errors/index.js';

/**
 * A path as the user gave it, without needless slashes. It is taken as it is written: nothing in it is expanded.
 *
 * @param option what it belongs to, for the message
 * @throws BerthError BERTH_PATH_RELATIVE for one that is not absolute, or has "..": what is above a symbolic link is not
 * what it looks like. BERTH_OPTION for an empty one and for control characters.
 */
export function absolutePath(text: string, option: string): string {
  if (text === '')
    throw new BerthError('BERTH_OPTION', { option, value: 'an empty path', why: 'a path begins with /' });
  if (/\p{Cc}/u.test(text)) {
    const why = 'a path with control characters cannot be told from another in a message or a log';
    throw new BerthError('BERTH_OPTION', { option, value: text, why });
  }
  if (!text.startsWith('/')) {
    const why = 'paths begin with /: what they would be relative to differs between this host and the container';
    throw new BerthError('BERTH_PATH_RELATIVE', { option, path: text, why });
  }
  if (text.split('/').includes('..')) {
    const why = 'it has "..", which leads elsewhere behind a symbolic link';
    throw new BerthError('BERTH_PATH_RELATIVE', { option, path: text, why });
  }
  const path = posix.normalize(text);
  return path.length > 1 && path.endsWith('/') ? path.slice(0, -1) : path;
}
