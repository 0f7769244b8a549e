import { once } from 'node:events';
import { connect, createServer, type AddressInfo, type Server, type Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';

/** How much a slowed link passes on at once, in bytes. */
const PORTION = 16 * 1024;

/** A line to a server on this machine that can be made slow, and cut. */
export class Link {
  /** Bytes per second from the server to the client; undefined for as many as there are. */
  rate: number | undefined;
  /** The next connection that would bring more than this many bytes from the server is cut there, and only that. */
  cutAfter: number | undefined;
  /** How many connections were cut by {@link cutAfter}. */
  cuts = 0;
  /** Bytes that came from the server. */
  received = 0;
  readonly #sockets = new Set<Socket>();

  private constructor(
    private readonly server: Server,
    private readonly target: number,
  ) {
    server.on('connection', (client) => {
      this.#serve(client);
    });
  }

  static async open(target: number): Promise<Link> {
    const server = createServer({ pauseOnConnect: false });
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    return new Link(server, target);
  }

  get port(): number {
    return (this.server.address() as AddressInfo).port;
  }

  get host(): string {
    return `127.0.0.1:${this.port}`;
  }

  /** Ends all connections, as a server that dies does. */
  cut(): void {
    for (const socket of this.#sockets) socket.resetAndDestroy();
  }

  async close(): Promise<void> {
    this.server.close();
    this.cut();
    await once(this.server, 'close');
  }

  #serve(client: Socket): void {
    const server = connect(this.target, '127.0.0.1');
    for (const socket of [client, server]) {
      this.#sockets.add(socket);
      socket.on('error', () => undefined);
      socket.on('close', () => this.#sockets.delete(socket));
    }
    // Not the other way: what the server has sent before it closed is still to be passed on.
    client.on('close', () => server.destroy());
    client.pipe(server);
    void this.#forward(server, client);
  }

  async #forward(server: Socket, client: Socket): Promise<void> {
    let passed = 0;
    try {
      for await (const chunk of server as AsyncIterable<Buffer>) {
        for (let from = 0; from < chunk.length; from += PORTION) {
          const portion = chunk.subarray(from, from + PORTION);
          passed += portion.length;
          this.received += portion.length;
          if (this.cutAfter !== undefined && passed > this.cutAfter) {
            this.cutAfter = undefined;
            this.cuts++;
            client.resetAndDestroy();
            return;
          }
          if (!client.write(portion)) await Promise.race([once(client, 'drain'), once(client, 'close')]);
          if (this.rate !== undefined) await sleep((1000 * portion.length) / this.rate);
        }
      }
      client.end();
    } catch {
      client.destroy();
    }
  }
}
