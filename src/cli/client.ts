import { connect, type Socket } from 'node:net';
import { hostname } from 'node:os';
import { BerthError, RemoteError } from '../errors/index.js';
import { decodeReply, encodeRequest, frame, FrameReader, REPLY_LIMIT, v1 } from '../protocol/index.js';

type RequestBody = Parameters<typeof encodeRequest>[0];

/** How long, in milliseconds, a question that needs no work may take. */
const ANSWER_TIMEOUT = 30_000;

/** A connection to berthd. */
export class Connection {
  readonly #replies: v1.Reply[] = [];
  #end: Error | undefined;
  #wake: () => void = () => undefined;

  private constructor(
    private readonly socket: Socket,
    private readonly path: string,
  ) {
    const reader = new FrameReader(REPLY_LIMIT);
    socket.on('data', (chunk: Buffer) => {
      try {
        this.#replies.push(...reader.push(chunk).map(decodeReply));
        this.#wake();
      } catch (error) {
        this.#finish(error instanceof Error ? error : new Error(String(error)));
      }
    });
    socket.once('error', (error) => {
      this.#finish(unreachable(this.path, explain(error)));
    });
    socket.once('close', () => {
      this.#finish(unreachable(this.path, 'it ended the connection before it answered'));
    });
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
   * berthd's next answer. One caller at a time.
   *
   * @throws RemoteError the daemon's own error; BerthError BERTH_DAEMON_UNREACHABLE, BERTH_PROTOCOL_VERSION,
   * BERTH_PROTOCOL_FRAME
   */
  async reply(): Promise<v1.Reply> {
    for (;;) {
      const reply = this.#replies.shift();
      if (reply?.error) throw remoteError(reply.error);
      if (reply) return reply;
      if (this.#end) throw this.#end;
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
  }

  close(): void {
    this.socket.destroy();
  }

  #finish(error: Error): void {
    this.#end ??= error;
    this.#wake();
  }
}

function remoteError({ code, exitStatus, what, why, hint }: v1.Error.$Properties): RemoteError {
  return new RemoteError({
    code: code ?? '',
    exitStatus: exitStatus ?? 1,
    what: what ?? '',
    why: why ?? '',
    hint: hint ?? '',
  });
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
  if (code === 'ENOENT') return 'the socket does not exist: berthd does not run here, or keeps its socket elsewhere';
  if (code === 'ECONNREFUSED') return 'the socket is there, but no berthd listens on it';
  if (code === 'EACCES') return 'you may not connect to this socket';
  return error.message;
}

function unreachable(socket: string, why: string): BerthError {
  return new BerthError('BERTH_DAEMON_UNREACHABLE', { socket, host: hostname(), why });
}
