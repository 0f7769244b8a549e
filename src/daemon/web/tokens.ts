import { createHash, createHmac, timingSafeEqual } from 'node:crypto';
import { open, type FileHandle } from 'node:fs/promises';
import { BerthError, reasonOf } from '../../errors/index.js';
import type { Viewer } from '../../events/index.js';

/** What a token consists of: what fits into a header, and is too long to be guessed. */
const TOKEN = /^[\x21-\x7e]{32,512}$/;

/** How long a personal token lasts, in seconds: a working day. */
const LIFETIME = 12 * 3600;

/** A personal token: whose, until when (seconds since the epoch), and berthd's word for it. */
const PERSONAL = /^berth1\.(\d{1,10})\.(\d{1,12})\.([A-Za-z0-9_-]{43})$/;

/** Who a token is for: the site's own is root's, and gives every user one that shows what is theirs. */
export class Tokens {
  readonly #digest: Buffer;

  constructor(private readonly secret: string) {
    this.#digest = digestOf(secret);
  }

  /**
   * Reads the site's token.
   *
   * @throws BerthError BERTH_EVENTS_LISTEN when others than root can read it, or it can be guessed.
   */
  static async read(path: string, address: string): Promise<Tokens> {
    const unusable = (why: string): BerthError =>
      new BerthError('BERTH_EVENTS_LISTEN', { address, why: `[events] token_file ${path}: ${why}` });
    let handle: FileHandle | undefined;
    try {
      handle = await open(path, 'r');
      const { uid, mode, size } = await handle.stat();
      if (uid !== 0 || (mode & 0o077) !== 0)
        throw unusable('it must belong to root, and nobody else may read it (mode 0600)');
      if (size > 4096) throw unusable('it holds more than a token');
      const token = (await handle.readFile('utf8')).trim();
      if (!TOKEN.test(token)) throw unusable('expected a line of 32 to 512 printable characters without blanks');
      return new Tokens(token);
    } catch (error) {
      throw error instanceof BerthError ? error : unusable(reasonOf(error));
    } finally {
      await handle?.close();
    }
  }

  /** Undefined for a token that is nobody's. Takes as long for a wrong one as for the right one. */
  viewerOf(token: string, now = Date.now() / 1000): Viewer | undefined {
    if (timingSafeEqual(digestOf(token), this.#digest)) return { uid: 0 };
    const [, uid = '', until = '', word = ''] = PERSONAL.exec(token) ?? [];
    if (word === '' || Number(until) < now) return undefined;
    return timingSafeEqual(digestOf(word), digestOf(this.#word(uid, until))) ? { uid: Number(uid) } : undefined;
  }

  /** A token with which a user sees what is theirs. */
  issue({ uid }: Viewer, now = Date.now() / 1000): { readonly token: string; readonly until: number } {
    const until = Math.floor(now) + LIFETIME;
    return { token: `berth1.${uid}.${until}.${this.#word(String(uid), String(until))}`, until };
  }

  #word(uid: string, until: string): string {
    return createHmac('sha256', this.secret).update(`berth personal token\n${uid}\n${until}`).digest('base64url');
  }
}

/** All of one length, to be compared. */
function digestOf(text: string): Buffer {
  return createHash('sha256').update(text).digest();
}
