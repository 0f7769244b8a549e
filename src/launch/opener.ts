import { spawn, type ChildProcess } from 'node:child_process';
import { close } from 'node:fs';
import { basename } from 'node:path';
import type { Config } from '../config/index.js';
import { systemWords } from '../errors/index.js';
import { isNativeError, native, openerExecutable, type Packet } from '../native/index.js';
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

/** The site does not let users mount it. */
export class OpenDenied extends OpenFault {}

/** Where the sources of users' volumes may lie. */
export type SourcePolicy = Pick<Config['volumes'], 'allowedSources' | 'deniedSources'>;

/** What is asked of a process that is in the caller's mount namespace, and looks paths up with the user's rights alone. */
export interface Errand {
  readonly executable: string;
  readonly user: User;
  readonly path: string;
  /** What the executable wants to know besides. */
  readonly words?: readonly string[];
  /** Where the path may lead; anywhere without. */
  readonly policy?: SourcePolicy | undefined;
  /** pidfd of the process whose mount namespace it is; stays the caller's. */
  readonly caller: number;
  /** Descriptors that it gets as 5 and up; they stay the caller's. */
  readonly descriptors?: readonly number[];
  /** Milliseconds. */
  readonly timeout: number;
}

/**
 * Has a file opened by a process that is in the caller's mount namespace, and has the user's rights and no others. berthd
 * itself never looks the path up.
 *
 * @throws OpenFault
 */
export async function openAsUser(
  user: User,
  path: string,
  caller: number,
  timeout: number,
  policy?: SourcePolicy,
): Promise<OpenedByUser> {
  const answer = await runErrand({ executable: openerExecutable, user, path, policy, caller, timeout });
  return readAnswer(answer.text, answer.descriptors[0]);
}

/**
 * Runs a short-lived executable of ours, and returns its one answer.
 *
 * @throws OpenFault when there is none in time; OpenDenied
 */
export async function runErrand(errand: Errand): Promise<Packet> {
  const { ours, theirs } = native.packetPair();
  try {
    const child = spawn(errand.executable, {
      env: {},
      cwd: '/',
      stdio: ['ignore', 'ignore', 'ignore', theirs, errand.caller, ...(errand.descriptors ?? [])],
    });
    const started = new Promise<never>((_, reject) => {
      child.once('error', (error) => {
        reject(new OpenFault(`${basename(errand.executable)} could not be started: ${error.message}`));
      });
    });
    started.catch(() => undefined);
    native.close(theirs);
    try {
      native.sendPacket(ours, requestOf(errand));
      const answer = await Promise.race([answerOf(child, ours, errand.timeout), started]);
      explainRefusal(answer);
      return answer;
    } finally {
      child.kill('SIGKILL');
    }
  } finally {
    native.close(ours);
  }
}

/**
 * What a process says that may wait for a user's file system. One that says nothing in time is killed; it may live on until
 * that file system answers, and holds nobody up.
 *
 * @param timeout milliseconds
 * @throws OpenFault when it says nothing in time.
 */
export async function answerOf(child: ChildProcess, socket: number, timeout: number): Promise<Packet> {
  try {
    return await native.receivePacket(socket, timeout);
  } catch (error) {
    if (!isNativeError(error, 'ETIMEDOUT')) throw error;
    child.kill('SIGKILL');
    child.unref();
    throw new OpenFault(`its file system did not answer within ${timeout / 1000} s`);
  }
}

/** @throws OpenFault for a path that no file has. */
export function requestOf({
  user,
  path,
  words = [],
  policy,
}: Pick<Errand, 'user' | 'path' | 'words' | 'policy'>): string {
  const directories = policy
    ? [...policy.allowedSources.map((path) => `+${path}`), ...policy.deniedSources.map((path) => `-${path}`)]
    : [];
  const parts = [`${user.uid} ${user.gid}\n${user.gids.join(' ')}\n${path}`, ...words, ...directories];
  if (parts.some((part) => part.includes('\0'))) throw new OpenFault('no path has a NUL');
  return parts.join('\0');
}

/** @throws OpenFault, OpenDenied where the answer is a refusal. */
export function explainRefusal({ text }: Packet): void {
  const [kind, ...words] = text.split(' ');
  if (kind === 'denied') throw new OpenDenied(words.join(' '));
  if (kind === 'failed') throw new OpenFault(explain(Number(words[0]), words.slice(1).join(' ')));
}

function readAnswer(text: string, descriptor: number | undefined): OpenedByUser {
  const [kind, ...words] = text.split(' ');
  if (kind === 'other') throw new OpenFault(unfit(words.join(' ')));
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
