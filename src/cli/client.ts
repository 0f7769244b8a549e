import { connect, type Socket } from 'node:net';
import { hostname } from 'node:os';
import { BerthError, RemoteError } from '../errors/index.js';
import { decodeReply, encodeRequest, frame, FrameReader, REPLY_LIMIT, v1 } from '../protocol/index.js';

type RequestBody = Parameters<typeof encodeRequest>[0];

/** How long, in milliseconds, a question that needs no work may take. */
const ANSWER_TIMEOUT = 30_000;

/** A connection to berthd. */
export class Connection {
  readonly #reply: Promise<v1.Reply>;

  private constructor(
    private readonly socket: Socket,
    private readonly path: string,
  ) {
    this.#reply = this.#receive();
    // Whoever never asks for the reply is not to be ended by its failure.
    this.#reply.catch(() => undefined);
  }

  /** @throws BerthError BERTH_DAEMON_UNREACHABLE */
  static open(path: string): Promise<Connection> {
    return new Promise((resolve, reject) => {
      const socket = connect(path);
      const fail = (error: Error): void => {
        reject(unreachable(path, explain(error)));
      };
      socket.once('error', fail);
      socket.once('connect', () => {
        socket.off('error', fail);
        resolve(new Connection(socket, path));
      });
    });
  }

  send(body: RequestBody): void {
    this.socket.write(frame(encodeRequest(body)));
  }

  /**
   * berthd's answer.
   *
   * @throws RemoteError the daemon's own error; BerthError BERTH_DAEMON_UNREACHABLE, BERTH_PROTOCOL_VERSION,
   * BERTH_PROTOCOL_FRAME
   */
  async reply(): Promise<v1.Reply> {
    const reply = await this.#reply;
    if (!reply.error) return reply;
    const { code, exitStatus, what, why, hint } = reply.error;
    throw new RemoteError({
      code: code ?? '',
      exitStatus: exitStatus ?? 1,
      what: what ?? '',
      why: why ?? '',
      hint: hint ?? '',
    });
  }

  close(): void {
    this.socket.destroy();
  }

  #receive(): Promise<v1.Reply> {
    const reader = new FrameReader(REPLY_LIMIT);
    return new Promise((resolve, reject) => {
      this.socket.on('data', (chunk: Buffer) => {
        try {
          const [first] = reader.push(chunk);
          if (first) resolve(decodeReply(first));
        } catch (error) {
          reject(error instanceof Error ? error : new Error(String(error)));
        }
      });
      this.socket.once('error', (error) => {
        reject(unreachable(this.path, explain(error)));
      });
      this.socket.once('close', () => {
        reject(unreachable(this.path, 'it ended the connection before it answered'));
      });
    });
  }
}

/** One question, one answer. */
export async function ask(socket: string, body: RequestBody): Promise<v1.Reply> {
  const connection = await Connection.open(socket);
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => {
      reject(unreachable(socket, `it took the question and gave no answer for ${ANSWER_TIMEOUT / 1000} s`));
    }, ANSWER_TIMEOUT);
  });
  try {
    connection.send(body);
    return await Promise.race([connection.reply(), late]);
  } finally {
    clearTimeout(timer);
    connection.close();
  }
}

function explain(error: Error): string {
  const code = 'code' in error ? error.code : undefined;
  if (code === 'ENOENT')
    return 'the socket does not exist: berthd was never started here, or keeps its socket elsewhere';
  if (code === 'ECONNREFUSED') return 'the socket is there, but no berthd listens on it';
  if (code === 'EACCES') return 'you may not connect to this socket';
  return error.message;
}

function unreachable(socket: string, why: string): BerthError {
  return new BerthError('BERTH_DAEMON_UNREACHABLE', { socket, host: hostname(), why });
}
