import { chmodSync, openSync, rmSync } from 'node:fs';
import { createServer, type Server, type Socket } from 'node:net';
import { hostname } from 'node:os';
import type { Logger } from 'pino';
import { BerthError, reasonOf } from '../errors/index.js';
import { native } from '../native/index.js';
import { Connection, type Handler, type Report, type TakeOver } from './connection.js';

/** Connections a plain user may have at once: nobody can take all of berthd's descriptors. */
const MOST_PER_USER = 64;

/**
 * Connections of all plain users together: in a user namespace one person has thousands of uids (subuid(5)). Slurm's own
 * connections are not counted.
 */
const MOST_OF_USERS = 1024;

/** sd_listen_fds(3): the first descriptor that systemd passes. */
const LISTEN_FD = 3;

/**
 * Accepts clients on the socket, or on the one that systemd passed.
 *
 * @throws BerthError BERTH_DAEMON_RUNNING when another berthd has the runtime directory.
 */
export async function serve(
  socketPath: string,
  lockPath: string,
  handle: Handler,
  report: Report,
  takeOver: TakeOver,
  log: Logger,
): Promise<Server> {
  takeLock(lockPath, socketPath);
  const perUser = new Map<number, number>();
  const server = createServer((socket) => {
    accept(() => new Connection(socket, handle, report, takeOver), socket, log, perUser);
  });
  const inherited = inheritedSocket();
  if (inherited === undefined) rmSync(socketPath, { force: true });
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    const options = inherited === undefined ? { path: socketPath, backlog: 4096 } : { fd: inherited };
    server.listen(options, () => {
      resolve();
    });
  });
  // Everybody may connect: what each may ask is decided by who they are.
  if (inherited === undefined) chmodSync(socketPath, 0o666);
  return server;
}

function accept(connect: () => Connection, socket: Socket, log: Logger, perUser: Map<number, number>): void {
  let connection: Connection;
  try {
    connection = connect();
  } catch (error) {
    // The client may be gone already.
    log.debug({ reason: reasonOf(error) }, 'connection refused');
    socket.destroy();
    return;
  }
  const { uid } = connection.peer;
  if (uid === 0) return;
  const count = (perUser.get(uid) ?? 0) + 1;
  perUser.set(uid, count);
  void connection.closed.then(() => {
    const left = (perUser.get(uid) ?? 1) - 1;
    if (left > 0) perUser.set(uid, left);
    else perUser.delete(uid);
  });
  const all = [...perUser.values()].reduce((sum, each) => sum + each, 0);
  if (count > MOST_PER_USER || all > MOST_OF_USERS) {
    connection.refuse(
      new BerthError('BERTH_NOT_PERMITTED', {
        what: count > MOST_PER_USER ? `more than ${MOST_PER_USER} connections at a time` : 'one more connection',
        uid,
        why: 'berthd keeps room for the other users of this node',
        hint: 'wait for the berth commands that are running on this node to finish',
      }),
    );
    socket.destroySoon();
  }
}

/** Held until the process ends, however it ends. */
function takeLock(lockPath: string, socket: string): void {
  const fd = openSync(lockPath, 'w', 0o600);
  if (!native.lock(fd)) {
    throw new BerthError('BERTH_DAEMON_RUNNING', {
      socket,
      why: `${lockPath} is locked by a process on ${hostname()}`,
    });
  }
}

/** systemd's socket activation: LISTEN_PID and LISTEN_FDS of sd_listen_fds(3). */
function inheritedSocket(): number | undefined {
  const { LISTEN_PID, LISTEN_FDS } = process.env;
  return LISTEN_PID === String(process.pid) && LISTEN_FDS === '1' ? LISTEN_FD : undefined;
}
