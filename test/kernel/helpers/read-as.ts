/**
 * Reads the event stream as whoever runs this, until standard input ends, and prints each message as a line.
 * Arguments: the socket, and since when.
 */
import { TestReader } from './web.js';

async function main(): Promise<void> {
  const [, , socketPath = '', since = 'now'] = process.argv;
  const reader = await TestReader.open({ socketPath }, since);
  if (reader.refused !== undefined)
    process.stdout.write(`${JSON.stringify({ type: 'refused', status: reader.refused })}\n`);
  for (const told of reader.told.splice(0)) process.stdout.write(`${JSON.stringify(told)}\n`);
  reader.socket.on('message', (data: Buffer) => process.stdout.write(`${data.toString('utf8')}\n`));
  process.stdin.on('end', () => reader.close()).resume();
}

void main();
