import { rmSync } from 'node:fs';
import { createServer, type Server, type Socket } from 'node:net';
import { join } from 'node:path';
import { native, type PeerCredentials } from '../../../src/native/index.js';
import { program, Running } from './programs.js';

/** The descriptor below a socket of Node's. */
export function descriptorOf(socket: Socket): number {
  const handle: unknown = '_handle' in socket ? socket._handle : undefined;
  if (typeof handle === 'object' && handle !== null && 'fd' in handle && typeof handle.fd === 'number')
    return handle.fd;
  throw new Error('this Node does not tell the descriptor of a socket');
}

/** A process that has connected, as slurmstepd connects to berthd. */
export class Caller {
  private constructor(
    private readonly running: Running,
    private readonly server: Server,
    readonly socket: Socket,
    readonly credentials: PeerCredentials,
  ) {}

  /** @param wrapper a command that runs the client, e.g. ['setpriv', '--reuid=65534'] */
  static async connect(scratch: string, wrapper: readonly string[] = []): Promise<Caller> {
    const path = join(scratch, 'caller.sock');
    // Not read from: a client that goes away must leave the socket to the test.
    const server = createServer({ pauseOnConnect: true });
    const accepted = new Promise<Socket>((resolve) => server.once('connection', resolve));
    await new Promise<void>((resolve) => {
      server.listen({ path, writableAll: true, readableAll: true }, resolve);
    });
    const running = await Running.start('env', ...wrapper, program('caller'), path);
    const socket = await accepted;
    rmSync(path);
    return new Caller(running, server, socket, native.peerCredentials(descriptorOf(socket)));
  }

  get pid(): number {
    return this.credentials.pid;
  }

  get pidfd(): number {
    return this.credentials.pidfd;
  }

  /** Ends the process; the pidfd stays. */
  async leave(): Promise<void> {
    await this.running.stop('SIGKILL');
  }

  async close(): Promise<void> {
    await this.leave();
    this.socket.destroy();
    native.close(this.pidfd);
    await new Promise((resolve) => this.server.close(resolve));
  }
}
