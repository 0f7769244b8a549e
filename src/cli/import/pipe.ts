import { execFileSync } from 'node:child_process';
import { closeSync, constants, mkdtempSync, openSync, rmSync } from 'node:fs';
import { Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Writable } from 'node:stream';

export interface Pipe {
  /** The number of the end to read from, which stays open here until berthd has taken it. Blocking. */
  readonly readEnd: number;
  readonly writeEnd: Writable;
}

/**
 * A pipe whose both ends this process has. Node makes none: what it calls pipes are sockets, which it reads itself and
 * has made non-blocking. So it is a FIFO that has lost its name.
 */
export function makePipe(): Pipe {
  const directory = mkdtempSync(join(tmpdir(), 'berth-'));
  try {
    const name = join(directory, 'pipe');
    execFileSync('mkfifo', ['--mode=600', name], { stdio: ['ignore', 'ignore', 'pipe'] });
    // An end opened for both lets the others open without waiting for each other.
    const both = openSync(name, constants.O_RDWR);
    const readEnd = openSync(name, constants.O_RDONLY);
    const writeEnd = openSync(name, constants.O_WRONLY);
    closeSync(both);
    return { readEnd, writeEnd: new Socket({ fd: writeEnd, readable: false, writable: true }) };
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}
