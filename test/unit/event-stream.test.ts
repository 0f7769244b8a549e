// The command's side of the event stream.
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { EventStream } from '../../src/cli/node/stream.js';

it('is not waited for when berthd takes the connection and says nothing', async () => {
  const directory = mkdtempSync(join(tmpdir(), 'berth-stream-'));
  const path = join(directory, 'berthd.sock');
  const connections: Socket[] = [];
  const server = createServer((connection) => connections.push(connection));
  await new Promise<void>((resolve) => server.listen(path, resolve));
  try {
    await expect(EventStream.open(path, 'oldest', 200)).rejects.toMatchObject({
      code: 'BERTH_DAEMON_UNREACHABLE',
      why: expect.stringContaining('timed out') as string,
    });
  } finally {
    for (const connection of connections) connection.destroy();
    server.close();
    rmSync(directory, { recursive: true });
  }
});
