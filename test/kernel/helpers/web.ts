// What clients of berthd's event stream, metrics and page do, for tests: over its own socket and over TCP.
import { request as httpRequest, type IncomingHttpHeaders, type RequestOptions } from 'node:http';
import { request as httpsRequest } from 'node:https';
import { createServer } from 'node:net';
import { once } from 'node:events';
import { WebSocket, type ClientOptions } from 'ws';

/** berthd's own socket, or where it listens. */
export type Place = { readonly socketPath: string } | { readonly port: number; readonly ca?: Buffer };

export interface Answer {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly body: string;
}

/** Asks once. */
export async function get(place: Place, path: string, options: RequestOptions = {}): Promise<Answer> {
  const asking = ('ca' in place ? httpsRequest : httpRequest)({
    host: '127.0.0.1',
    ...place,
    path,
    agent: false,
    ...options,
  });
  asking.end();
  const [response] = (await once(asking, 'response')) as [import('node:http').IncomingMessage];
  let body = '';
  response.setEncoding('utf8').on('data', (text: string) => (body += text));
  await once(response, 'close');
  return { status: response.statusCode ?? 0, headers: response.headers, body };
}

export const bearing = (token: string): { headers: Record<string, string> } => ({
  headers: { authorization: `Bearer ${token}` },
});

/** A port that nobody listened on a moment ago. */
export async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  server.close();
  await once(server, 'close');
  return typeof address === 'object' && address !== null ? address.port : 0;
}

export interface Told {
  readonly type: string;
  readonly cursor: string;
  readonly [name: string]: unknown;
}

/** One reader of the stream. */
export class TestReader {
  readonly told: Told[] = [];
  end: { readonly code: number; readonly reason: string } | undefined;
  /** The status with which it was refused. */
  refused: number | undefined;

  private constructor(readonly socket: WebSocket) {
    socket.on('message', (data: Buffer) => this.told.push(JSON.parse(data.toString('utf8')) as Told));
    socket.once('close', (code, reason) => (this.end = { code, reason: reason.toString('utf8') }));
    socket.on('error', () => undefined);
    socket.once('unexpected-response', (request, response) => {
      this.refused = response.statusCode ?? 0;
      request.destroy();
    });
  }

  static async open(
    place: Place,
    since = 'now',
    { token, ...options }: ClientOptions & { token?: string } = {},
  ): Promise<TestReader> {
    const path = `/v1/events?since=${encodeURIComponent(since)}`;
    const protocols = [
      'berth.v1',
      ...(token === undefined ? [] : [`berth.token.${Buffer.from(token).toString('base64url')}`]),
    ];
    const url =
      'socketPath' in place
        ? `ws+unix:${place.socketPath}:${path}`
        : `${'ca' in place ? 'wss' : 'ws'}://127.0.0.1:${place.port}${path}`;
    const ca = 'ca' in place ? { ca: place.ca } : {};
    const reader = new TestReader(new WebSocket(url, protocols, { perMessageDeflate: false, ...ca, ...options }));
    await new Promise<void>((resolve) => {
      reader.socket.once('open', resolve);
      reader.socket.once('unexpected-response', () => resolve());
      reader.socket.once('close', () => resolve());
    });
    return reader;
  }

  /** Those of one type. */
  of(type: string): Told[] {
    return this.told.filter((told) => told.type === type);
  }

  close(): void {
    this.socket.terminate();
  }
}
