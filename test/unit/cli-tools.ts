import { once } from 'node:events';
import { createServer } from 'node:net';
import { Writable } from 'node:stream';
import { run } from '../../src/cli/run.js';
import { makeTerminal } from '../../src/cli/terminal.js';
import { decodeRequest, frame, FrameReader, REQUEST_LIMIT, type v1 } from '../../src/protocol/index.js';

export class Collector extends Writable {
  text = '';

  constructor(readonly isTTY = false) {
    super();
  }

  override _write(chunk: Buffer, _encoding: string, done: () => void): void {
    this.text += chunk.toString();
    done();
  }
}

/** What a command has come to. */
export interface Result {
  readonly status: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs a command line in this process. */
export async function berth(argv: string[], env: Record<string, string> = {}, tty = false): Promise<Result> {
  const stdout = new Collector(tty);
  const stderr = new Collector(tty);
  const status = await run(argv, makeTerminal(stdout, stderr, env), env);
  return { status, stdout: stdout.text, stderr: stderr.text };
}

/** Answers one request of a command as berthd would, and tells what it was. */
export async function answeringAt(
  socket: string,
  reply: Uint8Array,
  use: () => Promise<Result>,
): Promise<Result & { request: v1.Request | undefined }> {
  let request: v1.Request | undefined;
  const server = createServer((connection) => {
    const reader = new FrameReader(REQUEST_LIMIT);
    connection.on('data', (chunk: Buffer) => {
      for (const bytes of reader.push(chunk)) {
        request = decodeRequest(bytes);
        connection.end(frame(reply));
      }
    });
  });
  server.listen(socket);
  await once(server, 'listening');
  try {
    return { ...(await use()), request };
  } finally {
    server.close();
  }
}
