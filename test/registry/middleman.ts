import { once } from 'node:events';
import { createServer, request, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';

/** An answer, or the part of it that is another than the registry's. */
export interface Answer {
  readonly status?: number;
  readonly type?: string;
  readonly body?: Buffer | string;
}

/** A reverse proxy before a registry on this machine, as sites have them, that spoils answers. */
export class Middleman {
  /** What is answered to a request for that path, knowing what the registry has sent; undefined for just that. */
  spoil: (path: string, body: Buffer) => Answer | undefined = () => undefined;

  private constructor(
    private readonly server: Server,
    private readonly target: number,
  ) {
    server.on('request', (asked, answer) => {
      this.#pass(asked, answer).catch(() => answer.destroy());
    });
  }

  static async open(target: number): Promise<Middleman> {
    const server = createServer();
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    return new Middleman(server, target);
  }

  get host(): string {
    return `127.0.0.1:${(this.server.address() as AddressInfo).port}`;
  }

  async close(): Promise<void> {
    this.server.close();
    this.server.closeAllConnections();
    await once(this.server, 'close');
  }

  async #pass({ method, url = '', headers }: IncomingMessage, answer: ServerResponse): Promise<void> {
    const passed = request({ host: '127.0.0.1', port: this.target, method, path: url, headers, agent: false });
    passed.end();
    const [got] = (await once(passed, 'response')) as [IncomingMessage];
    const chunks: Buffer[] = [];
    for await (const chunk of got as AsyncIterable<Buffer>) chunks.push(chunk);
    const body = Buffer.concat(chunks);
    const other = this.spoil(url, body);
    const type = other?.type === undefined ? {} : { 'content-type': other.type };
    const sent = other?.body ?? body;
    const length = method === 'HEAD' ? {} : { 'content-length': Buffer.byteLength(sent) };
    answer.writeHead(other?.status ?? got.statusCode ?? 502, { ...got.headers, ...length, ...type });
    answer.end(method === 'HEAD' ? undefined : sent);
  }
}
