import { createServer, ServerResponse, type IncomingMessage } from 'node:http';
import type { Socket } from 'node:net';
import { hostname } from 'node:os';
import type { Duplex } from 'node:stream';
import type { Logger } from 'pino';
import { WebSocketServer } from 'ws';
import type { Config } from '../../config/index.js';
import { BerthError, toErrorMessage, type ErrorMessage } from '../../errors/index.js';
import { EVENTS_VERSION, type Since, type Viewer } from '../../events/index.js';
import type { Health } from '../../health/index.js';
import { v1 } from '../../protocol/index.js';
import { asksForUs, ownNames, sourceOf } from './guard.js';
import type { Metrics } from './metrics.js';
import { pageFile, pageHeaders } from './page.js';
import type { Readers } from './readers.js';
import { imagesFor, stateFor, type StateParts } from './state.js';
import type { Tokens } from './tokens.js';

/** A client has its request told within so many milliseconds, and takes the answer within so many more. */
const REQUEST_LIMIT = 10_000;
const ANSWER_LIMIT = 30_000;

/** Longest request line and headers, in bytes. */
const MOST_HEADERS = 8192;

/** Longest message of a client of the stream, in bytes: it has nothing to say. */
const MOST_MESSAGE = 1024;

/** Bytes that are read behind a request whose upgrade is left alone: such as its body. */
const MOST_BEHIND = 64 * 1024;

/** What a browser cannot put into a header goes along with the WebSocket's protocols: this, and the token in base64url. */
const PROTOCOL = 'berth.v1';
const TOKEN_PROTOCOL = 'berth.token.';

/** Wrong tokens are in the log at most this often, in milliseconds. */
const WRONG_TOKEN_INTERVAL = 60_000;

/** How a client came to us. */
export interface Way {
  /** The address that it connected to, or "" for berthd's own socket. */
  readonly address: string;
  /** Who the kernel says it is; undefined over the network, where a token says so. */
  readonly viewer: Viewer | undefined;
  readonly isSecure: boolean;
}

export interface HttpParts extends StateParts {
  readonly config: Config;
  readonly health: Health;
  readonly metrics: Metrics;
  readonly readers: Readers;
  /** Who a token is for; undefined where nothing but berthd's own socket is served. */
  readonly tokens: () => Tokens | undefined;
  /** Why the configured address is not served, as far as this viewer may know. */
  readonly faultFor: (viewer: Viewer) => string;
  readonly log: Logger;
}

/** What a request is answered with. */
interface Answer {
  readonly status: number;
  readonly type: string;
  readonly body: string | Buffer;
  readonly headers?: Readonly<Record<string, string>>;
}

/** A request that is not answered as it was meant. */
class Refusal extends Error {
  constructor(
    readonly status: number,
    readonly error: ErrorMessage,
    readonly headers: Readonly<Record<string, string>> = {},
  ) {
    super(error.code);
  }
}

/**
 * Metrics, the event stream and the node page over HTTP, on connections that others have accepted: Node's own listener would
 * wake up twice a minute to look for slow clients. One request for each connection.
 */
export class Http {
  readonly #server = createServer({ maxHeaderSize: MOST_HEADERS, keepAlive: false });
  readonly #sockets = new WebSocketServer({
    noServer: true,
    clientTracking: false,
    perMessageDeflate: false,
    autoPong: false,
    maxPayload: MOST_MESSAGE,
    handleProtocols: (offered) => (offered.has(PROTOCOL) ? PROTOCOL : false),
  });
  readonly #ways = new WeakMap<Duplex, Way & { readonly heard: () => void }>();
  /** Connections that have had their request. */
  readonly #asked = new WeakSet<Duplex>();
  readonly #names: ReadonlySet<string>;
  #wrongToken = Number.NEGATIVE_INFINITY;

  constructor(private readonly parts: HttpParts) {
    // What else a client sends at once is not even begun.
    this.#server.maxRequestsPerSocket = 1;
    this.#names = ownNames(parts.config.events.names);
    this.#server.on('request', (request, response) => {
      this.#asked.add(request.socket);
      void this.#respond(request, response);
    });
    this.#server.on('upgrade', (request, socket, head) => {
      // Node does not count these among a connection's requests, and the answer to the one before has the connection.
      if (this.#asked.has(socket)) {
        socket.destroy();
        return;
      }
      // Any other protocol may be left alone (RFC 9110, 7.8): curl --http2 asks for one with each request.
      if (request.headers.upgrade?.toLowerCase() === 'websocket') this.#upgrade(request, socket, head);
      else void this.#respond(request, responseTo(request));
    });
  }

  /** Serves a connection, which is paused. */
  accept(socket: Socket, way: Way): void {
    const limit = setTimeout(() => socket.destroy(), REQUEST_LIMIT);
    const heard = (): void => {
      clearTimeout(limit);
      socket.setTimeout(ANSWER_LIMIT, () => socket.destroy());
    };
    socket.once('close', () => {
      clearTimeout(limit);
    });
    socket.on('error', () => undefined);
    this.#ways.set(socket, { ...way, heard });
    this.#server.emit('connection', socket);
    socket.resume();
  }

  async #respond(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const way = this.#wayOf(request);
    this.#send(request, response, await this.#answer(request, way).catch((error: unknown) => failure(error)));
  }

  #send(request: IncomingMessage, response: ServerResponse, answer: Answer): void {
    response.writeHead(answer.status, {
      'Content-Type': answer.type,
      'Cache-Control': 'no-store',
      'X-Content-Type-Options': 'nosniff',
      'Referrer-Policy': 'no-referrer',
      ...this.#corsHeaders(request),
      ...answer.headers,
      Connection: 'close',
    });
    response.end(answer.body);
  }

  async #answer(request: IncomingMessage, way: Way): Promise<Answer> {
    const { method = '' } = request;
    const url = this.#check(request, way);
    if (method === 'OPTIONS') return preflight();
    if (method !== 'GET' && method !== 'HEAD')
      throw refused(405, `${method} is not answered`, { Allow: 'GET, HEAD, OPTIONS' });
    const file = way.viewer === undefined ? pageFile(url.pathname) : undefined;
    if (file)
      return { status: 200, ...file, headers: { ...pageHeaders(this.parts.config.events.nodes), ...file.headers } };
    const viewer = this.#viewer(request, way);
    switch (url.pathname) {
      case '/metrics':
        return { status: 200, type: 'text/plain; version=0.0.4; charset=utf-8', body: await this.parts.metrics.text() };
      case '/v1/state':
        return json(await stateFor(viewer, this.parts));
      case '/v1/images':
        return json(await imagesFor(viewer, this.parts));
      case '/v1/health':
        return this.#health(viewer, url);
      case '/v1/nodes':
        return json({ v: EVENTS_VERSION, node: hostname(), nodes: this.parts.config.events.nodes });
      case '/v1/token':
        if (way.viewer) return json({ v: EVENTS_VERSION, ...this.#tokensFor(way.viewer).issue(way.viewer) });
        break;
      case '/v1/events':
        throw refused(426, 'the event stream is a WebSocket', { Upgrade: 'websocket' });
    }
    throw refused(404, `there is no ${url.pathname}`);
  }

  /** @throws Refusal where nothing is served over the network. */
  #tokensFor(viewer: Viewer): Tokens {
    const tokens = this.parts.tokens();
    if (tokens) return tokens;
    const { listen } = this.parts.config.events;
    const why =
      listen === ''
        ? 'this node serves no page and no stream over the network: its [events] listen is not set'
        : `nothing is served on ${listen}: ${this.parts.faultFor(viewer)}`;
    throw new Refusal(404, new BerthError('BERTH_EVENTS_NOT_SERVED', { host: hostname(), why }));
  }

  #upgrade(request: IncomingMessage, socket: Duplex, head: Buffer): void {
    try {
      const way = this.#wayOf(request);
      const url = this.#check(request, way);
      if (url.pathname !== '/v1/events') throw refused(404, `there is no WebSocket at ${url.pathname}`);
      const viewer = this.#viewer(request, way);
      this.parts.readers.check(viewer);
      request.socket.setTimeout(0);
      this.#sockets.handleUpgrade(request, socket, head, (opened) => {
        this.parts.readers.add(viewer, sinceOf(url), opened, socket);
      });
    } catch (error) {
      this.#send(request, responseTo(request), failure(error));
    }
  }

  #wayOf(request: IncomingMessage): Way {
    const way = this.#ways.get(request.socket);
    if (!way) throw new Error('a request on a connection that was not accepted');
    way.heard();
    return way;
  }

  /** Does this request come from whom we talk to, and what is it about? */
  #check({ headers, url = '' }: IncomingMessage, way: Way): URL {
    const isLocal = way.viewer !== undefined;
    if (!isLocal && !asksForUs(headers.host, this.#names)) {
      throw refused(
        421,
        `this node is not ${headers.host ?? 'without a name'}: [events] names can have more of its names`,
      );
    }
    const source = isLocal ? headers.origin : this.#source(headers, way) === 'refused';
    if (source)
      throw refused(403, `pages of ${headers.origin ?? ''} may not ask here: [events] origins has those that may`);
    if (!url.startsWith('/') || !URL.canParse(`http://node${url}`))
      throw refused(400, 'the request has no usable path');
    return new URL(`http://node${url}`);
  }

  #source(headers: IncomingMessage['headers'], { isSecure }: Way): ReturnType<typeof sourceOf> {
    const here = `${isSecure ? 'https' : 'http'}://${headers.host ?? ''}`;
    return sourceOf(headers.origin, here, this.parts.config.events.origins);
  }

  #corsHeaders(request: IncomingMessage): Record<string, string> {
    const way = this.#wayOf(request);
    if (way.viewer !== undefined) return {};
    const { origin } = request.headers;
    if (origin === undefined || this.#source(request.headers, way) !== 'allowed') return { Vary: 'Origin' };
    return { 'Access-Control-Allow-Origin': origin, Vary: 'Origin' };
  }

  #viewer(request: IncomingMessage, way: Way): Viewer {
    if (way.viewer) return way.viewer;
    const viewer = this.parts.tokens()?.viewerOf(tokenOf(request));
    if (viewer) return viewer;
    const now = performance.now();
    if (tokenOf(request) !== '' && now - this.#wrongToken > WRONG_TOKEN_INTERVAL) {
      this.#wrongToken = now;
      this.parts.log.warn({ address: way.address, from: request.socket.remoteAddress }, 'a request with a wrong token');
    }
    const error = new BerthError('BERTH_EVENTS_TOKEN', { host: hostname() });
    throw new Refusal(401, error, { 'WWW-Authenticate': 'Bearer realm="berth"' });
  }

  async #health({ uid }: Viewer, url: URL): Promise<Answer> {
    const text = url.searchParams.get('max-age') ?? '60';
    if (!/^\d{1,6}$/.test(text)) throw refused(400, 'max-age is a number of seconds');
    const request = new v1.HealthRequest({ format: v1.HealthRequest.Format.FORMAT_JSON, maxAge: Number(text) });
    const report = await this.parts.health.answer({ uid, pid: 0, request });
    return { status: 200, type: JSON_TYPE, body: report.text };
  }
}

/** A response to a request that Node's server has left to us, with its connection, as it asks for an upgrade. */
function responseTo(request: IncomingMessage): ServerResponse {
  const { socket } = request;
  const response = new ServerResponse(request);
  response.assignSocket(socket);
  response.once('finish', () => socket.destroySoon());
  // Nobody reads what else the client says, and what was not read when a connection is closed would take the answer with it.
  // But it must not keep berthd busy, nor be a sign of life of one that does not take its answer.
  let behind = 0;
  socket.on('data', (data: Buffer) => {
    behind += data.length;
    if (behind > MOST_BEHIND) socket.destroy();
  });
  const limit = setTimeout(() => socket.destroy(), ANSWER_LIMIT);
  socket.once('close', () => {
    clearTimeout(limit);
  });
  return response;
}

const JSON_TYPE = 'application/json; charset=utf-8';

function json(value: object): Answer {
  return { status: 200, type: JSON_TYPE, body: `${JSON.stringify(value)}\n` };
}

/** Of a page that may ask: which it is was checked before. */
function preflight(): Answer {
  const headers = {
    'Access-Control-Allow-Methods': 'GET',
    'Access-Control-Allow-Headers': 'Authorization',
    'Access-Control-Max-Age': '600',
  };
  return { status: 204, type: 'text/plain', body: '', headers };
}

function failure(error: unknown): Answer {
  const message = toErrorMessage(error);
  const status = message.code === 'BERTH_NOT_PERMITTED' ? 403 : 500;
  const refusal = error instanceof Refusal ? error : new Refusal(status, message);
  const { code, exitStatus, what, why, hint } = refusal.error;
  const body = `${JSON.stringify({ v: EVENTS_VERSION, error: { code, exitStatus, what, why, hint } })}\n`;
  return { status: refusal.status, type: JSON_TYPE, body, headers: refusal.headers };
}

function refused(status: number, why: string, headers: Readonly<Record<string, string>> = {}): Refusal {
  return new Refusal(status, new BerthError('BERTH_EVENTS_REQUEST', { host: hostname(), why }), headers);
}

/** Empty where there is none. */
function tokenOf({ headers }: IncomingMessage): string {
  const bearer = /^Bearer +(\S+)$/i.exec(headers.authorization ?? '')?.[1];
  if (bearer !== undefined) return bearer;
  const offered = (headers['sec-websocket-protocol'] ?? '').split(',').map((protocol) => protocol.trim());
  const protocol = offered.find((one) => one.startsWith(TOKEN_PROTOCOL)) ?? TOKEN_PROTOCOL;
  return Buffer.from(protocol.slice(TOKEN_PROTOCOL.length), 'base64url').toString('latin1');
}

function sinceOf(url: URL): Since {
  const since = url.searchParams.get('since') ?? 'now';
  return since === 'now' || since === 'oldest' ? since : { cursor: since };
}
