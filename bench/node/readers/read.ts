/**
 * Reads berthd's event stream many times: every other one takes what comes and throws it away, the others never read. It does
 * nothing with what it reads, as that is done elsewhere when readers are on other machines. Prints a line when all are connected.
 * Arguments: the socket, and how many.
 */
import { randomBytes } from 'node:crypto';
import { request } from 'node:http';
import type { Socket } from 'node:net';

function open(socketPath: string): Promise<Socket> {
  return new Promise((resolve, reject) => {
    const asking = request({
      socketPath,
      path: '/v1/events?since=now',
      headers: {
        Connection: 'Upgrade',
        Upgrade: 'websocket',
        'Sec-WebSocket-Version': '13',
        'Sec-WebSocket-Key': randomBytes(16).toString('base64'),
        'Sec-WebSocket-Protocol': 'berth.v1',
      },
    });
    asking.once('upgrade', (_response, socket) => resolve(socket));
    asking.once('response', ({ statusCode }) => reject(new Error(`berthd answered ${String(statusCode)}`)));
    asking.once('error', reject);
    asking.end();
  });
}

async function main([socketPath = '', count = '0']: readonly string[]): Promise<void> {
  const sockets = await Promise.all(Array.from({ length: Number(count) }, () => open(socketPath)));
  for (const [index, socket] of sockets.entries()) {
    // berthd lets go of those who are too slow.
    socket.on('error', () => undefined);
    if (index % 2 === 0) socket.resume();
  }
  process.stdout.write('ready\n');
}

void main(process.argv.slice(2));
