// What the command asks of a berthd that takes connections and says nothing, as one that is stopped.
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer, type Server, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { ANSWER_LIMIT, askForText } from '../../src/cli/node/ask.js';
import { EventStream } from '../../src/cli/node/stream.js';

let directory: string;
let path: string;
let server: Server;
let connections: Socket[];

beforeEach(async () => {
  directory = mkdtempSync(join(tmpdir(), 'berth-silent-'));
  path = join(directory, 'berthd.sock');
  connections = [];
  server = createServer((connection) => connections.push(connection));
  await new Promise<void>((resolve) => server.listen(path, resolve));
});

afterEach(() => {
  for (const connection of connections) connection.destroy();
  server.close();
  rmSync(directory, { recursive: true });
});

describe('a silent berthd is not waited for', () => {
  const gaveUp = { code: 'BERTH_DAEMON_UNREACHABLE', why: 'it took the connection and gave no answer for 0.2 s' };

  it('by who wants its events', async () => {
    await expect(EventStream.open(path, 'oldest', 200)).rejects.toMatchObject(gaveUp);
  });

  it('by who wants a document', async () => {
    await expect(askForText(path, '/metrics', 200)).rejects.toMatchObject(gaveUp);
  });

  it('for longer than 10 s', () => {
    expect(ANSWER_LIMIT).toBe(10_000);
  });
});
