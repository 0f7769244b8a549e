import { BerthError } from '../errors/index.js';
import type { Connection } from './connection.js';

/** Imports that a plain user may have under way. */
const MOST_PER_USER = 2;

/** Imports under way: each ends with the client's word that the archive was whole, or with the client. */
export class ImportSessions {
  readonly #running = new Map<Connection, () => void>();

  /**
   * @returns resolves at {@link end}, rejects when the client leaves before.
   * @throws BerthError BERTH_PROTOCOL_FRAME when the connection is importing already; BERTH_NOT_PERMITTED.
   */
  begin(connection: Connection): Promise<void> {
    if (this.#running.has(connection))
      throw new BerthError('BERTH_PROTOCOL_FRAME', { why: 'one import at a time on a connection' });
    const { uid } = connection.peer;
    const own = [...this.#running.keys()].filter(({ peer }) => peer.uid === uid).length;
    if (uid !== 0 && own >= MOST_PER_USER) {
      throw new BerthError('BERTH_NOT_PERMITTED', {
        what: `more than ${MOST_PER_USER} imports at a time`,
        uid,
        why: 'each takes processors and memory of this node',
        hint: 'wait for your other imports to finish',
      });
    }
    const complete = new Promise<void>((resolve, reject) => {
      this.#running.set(connection, resolve);
      void connection.closed.then(() => {
        this.#running.delete(connection);
        reject(new BerthError('BERTH_IMPORT_FAILED', { name: 'the image', why: 'the client went away' }));
      });
    });
    // An import that fails before anybody waits for this leaves nobody to hear of the client's going.
    complete.catch(() => undefined);
    return complete;
  }

  /** The client's word. Until it has left, its import counts as under way. */
  end(connection: Connection): void {
    this.#running.get(connection)?.();
  }
}
