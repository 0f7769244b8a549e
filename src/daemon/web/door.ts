import type { Socket } from 'node:net';
import { reasonOf, toErrorMessage } from '../../errors/index.js';
import type { Viewer } from '../../events/index.js';
import type { Http, HttpParts, Way } from './http.js';
import type { Tokens } from './tokens.js';

/** Where clients that speak HTTP come in. What serves them is loaded for the first one: most nodes are never asked. */
export class Door {
  #http: Promise<Http> | undefined;
  #tokens: Tokens | undefined;
  #close: () => void = () => undefined;

  constructor(private readonly parts: Omit<HttpParts, 'tokens'> & { readonly busy: () => void }) {}

  /** A client of berthd's own socket, whom the kernel has named. */
  acceptLocal(socket: Socket, viewer: Viewer): void {
    this.#accept(socket, { address: '', viewer, isSecure: false });
  }

  /** Listens on the configured address, if there is one. Where that fails, launches go on, and the log has why. */
  async open(): Promise<void> {
    const { config, log } = this.parts;
    const { listen: address, tokenFile, tlsCert } = config.events;
    if (address === '') return;
    try {
      const [{ Tokens: Reader }, { listen }] = await Promise.all([import('./tokens.js'), import('./listen.js')]);
      this.#tokens = await Reader.read(tokenFile, address);
      const server = await listen(config.events, (socket) => {
        this.#accept(socket, { address, viewer: undefined, isSecure: tlsCert !== '' });
      });
      this.#close = () => server.close();
      log.info({ address, tls: tlsCert !== '' }, 'the node page, metrics and events are served here');
    } catch (error) {
      const { code, what, why } = toErrorMessage(error);
      log.error({ code, why }, what);
    }
  }

  close(): void {
    this.#close();
  }

  #accept(socket: Socket, way: Way): void {
    this.parts.busy();
    this.#http ??= this.#load();
    // What comes meanwhile stays in the kernel.
    socket.pause();
    this.#http.then(
      (http) => {
        if (!socket.destroyed) http.accept(socket, way);
      },
      (error: unknown) => {
        this.parts.log.error({ reason: reasonOf(error) }, 'what serves HTTP could not be loaded');
        socket.destroy();
      },
    );
  }

  async #load(): Promise<Http> {
    const { Http: Server } = await import('./http.js');
    // The first client may be here before the site's token is read.
    return new Server({ ...this.parts, tokens: () => this.#tokens });
  }
}
