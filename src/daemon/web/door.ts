import type { Socket } from 'node:net';
import { reasonOf, toErrorMessage } from '../../errors/index.js';
import type { Viewer } from '../../events/index.js';
import type { Http, HttpParts, Way } from './http.js';
import type { Tokens } from './tokens.js';

/** Why the configured address is not served. */
interface Fault {
  readonly why: string;
  /** Is it about the site's token, and root's alone to know? */
  readonly isSecret: boolean;
}

/** Where clients that speak HTTP come in. What serves them is loaded for the first one: most nodes are never asked. */
export class Door {
  #http: Promise<Http> | undefined;
  #tokens: Tokens | undefined;
  /** Why nothing is served over the network; undefined when something is. */
  #fault: Fault | undefined = { why: 'berthd has only just been started; ask again in a moment', isSecret: false };
  #close: () => void = () => undefined;

  constructor(private readonly parts: Omit<HttpParts, 'tokens' | 'faultFor'> & { readonly busy: () => void }) {}

  /** A client of berthd's own socket, whom the kernel has named. */
  acceptLocal(socket: Socket, viewer: Viewer): void {
    this.#accept(socket, { address: '', viewer, isSecure: false });
  }

  /** Listens on the configured address, if there is one. Where that fails, launches go on, and the log has why. */
  async open(): Promise<void> {
    const { config, log } = this.parts;
    const { listen: address, tokenFile, tlsCert } = config.events;
    if (address === '') return;
    let tokens: Tokens | undefined;
    try {
      const [{ Tokens: Reader }, { listen }] = await Promise.all([import('./tokens.js'), import('./listen.js')]);
      tokens = await Reader.read(tokenFile, address);
      const server = await listen(
        config.events,
        (socket) => {
          this.#accept(socket, { address, viewer: undefined, isSecure: tlsCert !== '' });
        },
        this.parts.busy,
      );
      this.#tokens = tokens;
      this.#fault = undefined;
      this.#close = () => server.close();
      log.info({ address, tls: tlsCert !== '' }, 'the node page, metrics and events are served here');
    } catch (error) {
      const { code, what, why } = toErrorMessage(error);
      this.#fault = { why, isSecret: tokens === undefined };
      log.error({ code, why }, what);
    }
  }

  close(): void {
    this.#close();
  }

  /** Why the configured address is not served, as everybody may know it; undefined when it is. */
  get fault(): string | undefined {
    return this.#fault?.isSecret === true ? "berthd's log has the reason" : this.#fault?.why;
  }

  #faultFor({ uid }: Viewer): string {
    return (uid === 0 ? this.#fault?.why : this.fault) ?? '';
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
    return new Server({ ...this.parts, tokens: () => this.#tokens, faultFor: (viewer) => this.#faultFor(viewer) });
  }
}
