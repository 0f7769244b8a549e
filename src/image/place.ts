import { spawn } from 'node:child_process';
import { constants } from 'node:fs';
import { open, type FileHandle } from 'node:fs/promises';
import { dirname } from 'node:path';
import { holdImage } from './condemned.js';
import type { MadeImage } from './converter.js';
import { moveIntoPlace } from './durable.js';
import type { Layout } from './layout.js';
import { superblockFault } from './superblock.js';

/** Makes an empty file, root's alone, for a converter to write through its descriptor. */
export function createOutput(path: string): Promise<FileHandle> {
  const { O_CREAT, O_EXCL, O_RDWR, O_NOFOLLOW } = constants;
  return open(path, O_CREAT | O_EXCL | O_RDWR | O_NOFOLLOW, 0o600);
}

/**
 * Puts a converter's squashfs file under its digest. One that is there already and whole is kept: containers may be
 * running from it, and they share its cached pages with the next.
 *
 * @param file the open file, at `path` in the same file system.
 * @returns why it is no image that could be used; undefined when it is in its place.
 */
export async function placeImage(
  layout: Layout,
  file: FileHandle,
  path: string,
  { digest, size }: MadeImage,
): Promise<string | undefined> {
  const found = await file.stat();
  if (found.size !== size) return `it has ${found.size} bytes, not ${size}`;
  const fault = await superblockFault(file, size);
  if (fault !== undefined) return fault;
  await file.chmod(0o444);
  await file.sync();
  // Until publishNames has given it a name.
  await holdImage(layout, digest, dirname(path));
  const present = await sha256(layout.image(digest)).catch(() => undefined);
  if (present !== digest) await moveIntoPlace(path, layout.image(digest));
  return undefined;
}

/**
 * The SHA-256 of a file, computed by sha256sum(1): gigabytes hashed in this process would hold up every launch on the
 * node meanwhile.
 */
async function sha256(path: string): Promise<string> {
  const handle = await open(path, constants.O_RDONLY | constants.O_NOFOLLOW);
  try {
    return await sha256Of(handle.fd);
  } finally {
    await handle.close();
  }
}

/**
 * The SHA-256 of what a descriptor gives until its end, as {@link sha256} computes it.
 *
 * @param seconds of processor time that it may take; without it, as many as it wants.
 * @throws Error when it took longer, or was aborted.
 */
export function sha256Of(input: number, seconds?: number, signal?: AbortSignal): Promise<string> {
  const limits = ['--core=0', ...(seconds === undefined ? [] : [`--cpu=${seconds}`])];
  const argv = ['--pdeathsig', 'KILL', 'prlimit', ...limits, 'nice', '-n', '10', 'sha256sum'];
  return new Promise((resolve, reject) => {
    const child = spawn('setpriv', argv, { stdio: [input, 'pipe', 'ignore'] });
    let text = '';
    child.stdout?.setEncoding('utf8').on('data', (chunk: string) => {
      text += chunk;
    });
    const abort = (): void => {
      child.kill('SIGKILL');
    };
    if (signal?.aborted) abort();
    else signal?.addEventListener('abort', abort);
    child.once('error', reject);
    child.once('close', (status, killedBy) => {
      signal?.removeEventListener('abort', abort);
      const hex = /^[0-9a-f]{64}(?= )/.exec(text)?.[0];
      if (status === 0 && hex !== undefined) resolve(`sha256:${hex}`);
      else reject(new Error(`sha256sum was ended by ${killedBy ?? `status ${status ?? 'unknown'}`}`));
    });
  });
}
