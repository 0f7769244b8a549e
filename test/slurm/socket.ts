import type { Site } from './site.js';
import { decodeReply, encodeRequest, FrameReader, REPLY_LIMIT, type v1 } from '../../src/protocol/index.js';

// Sends the bytes to berthd's socket and prints those of the answer.
const SEND = `
  const socket = require('node:net').connect('/run/berth/berthd.sock');
  socket.write(Buffer.from(process.argv[1], 'hex'));
  socket.once('data', (bytes) => { console.log(bytes.toString('hex')); socket.destroy(); });
`;

/** Asks a host's berthd for something as a user, as no program of Berth would. */
export async function askDaemon(
  { cluster }: Site,
  host: string,
  user: string,
  body: Parameters<typeof encodeRequest>[0],
): Promise<v1.Reply> {
  const payload = Buffer.from(encodeRequest(body));
  const header = Buffer.alloc(4);
  header.writeUInt32BE(payload.length);
  const hex = Buffer.concat([header, payload]).toString('hex');
  const { stdout } = await cluster.exec(host, [process.execPath, '-e', SEND, hex], { user, timeout: 10_000 });
  const [answer] = new FrameReader(REPLY_LIMIT).push(Buffer.from(stdout.trim(), 'hex'));
  return decodeReply(answer ?? Buffer.alloc(0));
}
