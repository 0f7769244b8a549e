import { readFile } from 'node:fs/promises';
import { createServer, type Server, type Socket } from 'node:net';
import { createServer as createTlsServer } from 'node:tls';
import type { Config } from '../../config/index.js';
import { BerthError, reasonOf } from '../../errors/index.js';

/** Connections over the network at a time. */
const MOST_CONNECTIONS = 2048;

/** The kernel asks after clients that have said nothing for so many milliseconds: readers may be gone without a word. */
const KEEPALIVE = { keepAlive: true, keepAliveInitialDelay: 60_000 };

/** How long, in milliseconds, a client may take to agree on TLS. */
const HANDSHAKE_LIMIT = 10_000;

/** Clients that agree on TLS at a time: each takes some 60 KiB, and nobody knows yet who they are. */
const MOST_HANDSHAKES = 256;

/**
 * Listens on [events] listen, with TLS where it is configured. That this is so on any address but a loopback's, and that there is
 * a token, the configuration's rules have made sure.
 *
 * @param came called for each connection, also one of which nothing comes.
 * @throws BerthError BERTH_EVENTS_LISTEN
 */
export async function listen(
  events: Config['events'],
  accept: (socket: Socket) => void,
  came: () => void,
): Promise<Server> {
  const { listen: address, tlsCert, tlsKey } = events;
  const [, bracketed, plain, port] = /^(?:\[(.*)\]|(.*)):(\d+)$/.exec(address) ?? [];
  try {
    const server =
      tlsCert === ''
        ? createServer(KEEPALIVE, accept)
        : createTlsServer(
            {
              ...KEEPALIVE,
              cert: await readFile(tlsCert),
              key: await readFile(tlsKey),
              minVersion: 'TLSv1.2',
              handshakeTimeout: HANDSHAKE_LIMIT,
              ALPNProtocols: ['http/1.1'],
            },
            accept,
          );
    server.on('connection', came);
    if (tlsCert !== '') boundHandshakes(server);
    server.maxConnections = MOST_CONNECTIONS;
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject);
      server.listen({ host: bracketed ?? plain, port: Number(port) }, resolve);
    });
    // From here on an error is that of one connection, which could not be accepted.
    server.removeAllListeners('error').on('error', () => undefined);
    return server;
  } catch (error) {
    throw new BerthError('BERTH_EVENTS_LISTEN', { address, why: reasonOf(error) }, { cause: error });
  }
}

/** Who does not get on with the handshake makes room for those who come later: they are done in a few turns. */
function boundHandshakes(server: Server): void {
  const unfinished = new Map<string, Socket>();
  server.on('connection', (socket: Socket) => {
    const client = clientOf(socket);
    unfinished.set(client, socket);
    socket.once('close', () => {
      if (unfinished.get(client) === socket) unfinished.delete(client);
    });
    const [oldest] = unfinished.values();
    if (unfinished.size > MOST_HANDSHAKES) oldest?.destroy();
  });
  // Another socket than that of the connection, for the same client.
  server.on('secureConnection', (socket: Socket) => unfinished.delete(clientOf(socket)));
  // Node.js only tells of a handshake that takes too long: the connection would stay, and be one of so many.
  server.on('tlsClientError', (_error: Error, socket: Socket) => socket.destroy());
}

function clientOf({ remoteAddress, remotePort }: Socket): string {
  return `${remoteAddress ?? ''} ${remotePort ?? ''}`;
}
