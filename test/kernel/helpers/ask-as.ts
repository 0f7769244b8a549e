/**
 * Sends requests over one connection as whoever runs this, and prints the replies as JSON lines.
 * Arguments: the socket, then a JSON array of request bodies.
 */
import { TestClient } from './daemon.js';

async function main(): Promise<void> {
  const [, , path = '', text = '[]'] = process.argv;
  const requests = JSON.parse(text) as Parameters<TestClient['ask']>[0][];
  const client = await TestClient.open(path);
  for (const request of requests) {
    const reply = await client.ask(request);
    process.stdout.write(`${JSON.stringify(reply ?? null)}\n`);
  }
  client.socket.destroy();
}

void main();
