import { spawn } from 'node:child_process';
import { close } from 'node:fs';
import { systemWords } from '../errors/index.js';
import { native, openerExecutable } from '../native/index.js';
import type { User } from './user-process.js';

/** A file that a user named, opened for reading with that user's rights. */
export interface OpenedByUser {
  /** Whoever has this closes it. */
  readonly descriptor: number;
  /** What is the same on all nodes as long as the file is the same and unchanged: native/opener. */
  readonly identity: string;
  /** "SIZE:MODIFIED:CHANGED", in bytes and nanoseconds. */
  readonly state: string;
  /** When it was changed, by the clock of its file system: milliseconds since the epoch. */
  readonly changed: number;
}

/** Why a file cannot be opened, in words that follow "why:". */
export class OpenFault extends Error {}

/**
 * Has a file opened by a process that is in the caller's mount namespace, and has the user's rights and no others. berthd
 * itself never looks the path up.
 *
 * @param caller pidfd of the process whose mount namespace it is; stays the caller's.
 * @param timeout milliseconds.
 * @throws OpenFault
 */
export async function openAsUser(user: User, path: string, caller: number, timeout: number): Promise<OpenedByUser> {
  const { ours, theirs } = native.packetPair();
  try {
    const opener = spawn(openerExecutable, {
      env: {},
      cwd: '/',
      stdio: ['ignore', 'ignore', 'ignore', theirs, caller],
    });
    const started = new Promise<never>((_, reject) => {
      opener.once('error', (error) => {
        reject(new OpenFault(`its opener could not be started: ${error.message}`));
      });
    });
    started.catch(() => undefined);
    native.close(theirs);
    const late = { isLate: false };
    const timer = setTimeout(() => {
      late.isLate = true;
      opener.kill('SIGKILL');
    }, timeout);
    try {
      native.sendPacket(ours, `${user.uid} ${user.gid}\n${user.gids.join(' ')}\n${path}`);
      const { text, descriptors } = await Promise.race([native.receivePacket(ours), started]);
      const [descriptor] = descriptors;
      if (late.isLate) throw new OpenFault(`its file system did not answer within ${timeout / 1000} s`);
      return readAnswer(text, descriptor);
    } finally {
      clearTimeout(timer);
      opener.kill('SIGKILL');
    }
  } finally {
    native.close(ours);
  }
}

function readAnswer(text: string, descriptor: number | undefined): OpenedByUser {
  const [kind, ...words] = text.split(' ');
  if (kind === 'other') throw new OpenFault(unfit(words.join(' ')));
  if (kind === 'failed') throw new OpenFault(explain(Number(words[0]), words[1] ?? ''));
  const [system, inode, size, modified, changed] = words;
  if (kind !== 'file' || descriptor === undefined || changed === undefined) {
    if (descriptor !== undefined) native.close(descriptor);
    throw new OpenFault('its opener ended without an answer');
  }
  return {
    descriptor,
    identity: [system, inode, size, modified, changed].join(' '),
    state: [size, modified, changed].join(':'),
    changed: Number(BigInt(changed) / 1_000_000n),
  };
}

function unfit(what: string): string {
  if (!what.includes('FUSE')) return `it is a ${what}, not a file`;
  return `it is a ${what}, whose server may not answer: copy it to another, or give it a name with berth import`;
}

/** The system's words; those of looking a path up stand alone. */
function explain(errno: number, call: string): string {
  const words = systemWords(errno);
  return call === 'openat2' || call === 'open' ? words : `${call}: ${words}`;
}

/** On a thread: the last one to close a file may wait for its file system. There is nothing to be told of it. */
export function closeAside(descriptor: number): void {
  close(descriptor, () => undefined);
}
