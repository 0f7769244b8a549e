import { spawn, type ChildProcess } from 'node:child_process';
import { closeSync } from 'node:fs';
import { reasonOf } from '../errors/index.js';
import { isNativeError, native } from '../native/index.js';
import type { Connection } from './connection.js';

/** How long, in milliseconds, a client may send nothing of a document. */
const SILENCE_LIMIT = 60_000;

/** A client's pipe that cannot be used, or not read; in words that follow "why:". */
export class PipeFault extends Error {}

/**
 * A pipe that the client writes into. It is opened with root's rights, and the client may have become another program
 * meanwhile, a setuid one even, with files open that the client itself may not read. So it has to be a pipe, and one
 * that the client's user has made. The caller closes it.
 *
 * @throws PipeFault
 */
export function takePipe({ peer }: Connection, fd: number): number {
  try {
    return native.pipeOf(peer.pid, peer.pidfd, fd, peer.uid);
  } catch (cause) {
    const own = isNativeError(cause, 'EBADF');
    throw new PipeFault(own ? 'the client gave something else than a pipe of its own' : reasonOf(cause), { cause });
  }
}

/**
 * Reads all that a pipe gives. A program of its own does: a thread of this process that waits for a client is one that
 * launches have not, and a poll does not see the end of a pipe whose writer left before it was opened here.
 *
 * @param pipe closed in any case.
 * @param limit bytes.
 * @throws PipeFault when there is more, when nothing comes for a while, and when it was aborted.
 */
export function readPipe(pipe: number, limit: number, signal: AbortSignal): Promise<Buffer> {
  const reader = startReader(pipe, limit);
  return new Promise((resolve, reject) => {
    const chunks: Buffer[] = [];
    let length = 0;
    const give = (why: string): void => {
      reject(new PipeFault(why));
      reader.kill('SIGKILL');
    };
    const abort = (): void => give('the client went away');
    const silence = setTimeout(() => give(`the client sent nothing for ${SILENCE_LIMIT / 1000} s`), SILENCE_LIMIT);
    reader.stdout?.on('data', (chunk: Buffer) => {
      chunks.push(chunk);
      length += chunk.length;
      silence.refresh();
    });
    reader.once('error', (error) => give(reasonOf(error)));
    reader.once('close', (status) => {
      clearTimeout(silence);
      signal.removeEventListener('abort', abort);
      if (status !== 0) give(`it could not be read (head ended with status ${status ?? 'unknown'})`);
      else if (length > limit) give(`it has more than ${limit} bytes`);
      else resolve(Buffer.concat(chunks));
    });
    if (signal.aborted) abort();
    else signal.addEventListener('abort', abort);
  });
}

/** @param pipe closed, also when the reader cannot be started. */
function startReader(pipe: number, limit: number): ChildProcess {
  try {
    return spawn('setpriv', ['--pdeathsig', 'KILL', 'head', '-c', String(limit + 1)], {
      stdio: [pipe, 'pipe', 'ignore'],
    });
  } finally {
    closeSync(pipe);
  }
}
