import { BerthError } from '../errors/index.js';
import type { Connection } from './connection.js';

/** Imports under way: each ends with the client's word that the archive was whole, or with the client. */
export class ImportSessions {
  readonly #running = new WeakMap<Connection, () => void>();

  /**
   * @returns resolves at {@link end}, rejects when the client leaves before.
   * @throws BerthError BERTH_PROTOCOL_FRAME when the connection is importing already.
   */
  begin(connection: Connection): Promise<void> {
    if (this.#running.has(connection))
      throw new BerthError('BERTH_PROTOCOL_FRAME', { why: 'one import at a time on a connection' });
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

  end(connection: Connection): void {
    this.#running.get(connection)?.();
    this.#running.delete(connection);
  }
}
