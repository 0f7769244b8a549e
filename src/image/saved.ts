import { spawn } from 'node:child_process';
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { getSystemErrorName } from 'node:util';
import { systemWords } from '../errors/index.js';
import { assembleImage, convertLayer, CONVERTER_GID, CONVERTER_UID, type Failed, type MadeImage } from './converter.js';
import { conversionFailure, storeFailure } from './failures.js';
import { createOutput } from './place.js';
import { makeTemporary } from './temporary.js';
import type { Workshop } from './workshop.js';

/** Why an image cannot be saved, in words that follow "why:". */
export class SaveFault extends Error {}

export interface SaveOrder {
  /** Descriptors of tar archives to read from, the lowest layer first; closed in any case. */
  readonly archives: readonly number[];
  /** A descriptor of an empty file, to read and write; the caller's to close. */
  readonly output: number;
  /** Resolves when all archives were written to their ends; rejects with what failed. */
  readonly complete: Promise<void>;
  readonly signal: AbortSignal;
}

/**
 * Puts archives together to one squashfs file, which does not become an image of the store: that is only where the
 * layers are until it is done.
 *
 * @throws SaveFault where the file cannot be written; BerthError BERTH_STORE_FULL, BERTH_STORE_UNUSABLE; what
 * `complete` does, and the signal's reason.
 */
export async function saveArchives(workshop: Workshop, order: SaveOrder): Promise<MadeImage> {
  const { layout, self } = workshop;
  const temporary = await makeTemporary(layout.temporary, self).catch((error: unknown) => {
    throw storeFailure(layout.root, error);
  });
  const open: { close(): Promise<void>; readonly fd: number }[] = [];
  try {
    for (const [i] of order.archives.entries()) open.push(await createOutput(join(temporary, `layer-${i}`)));
    const failed = new AbortController();
    const signal = AbortSignal.any([order.signal, failed.signal]);
    // What made an archive knows best why it is cut short.
    const complete = order.complete.catch((error: unknown) => {
      failed.abort(error);
      throw error;
    });
    const converting = order.archives.map(async (archive, i) => {
      const conversion = await convertLayer(archive, open[i]?.fd ?? -1, workshop, signal);
      order.signal.throwIfAborted();
      if (conversion.ok) return;
      // Its maker is at fault, or will end because nobody reads any more.
      if (conversion.blame === 'archive' || failed.signal.aborted) await complete;
      throw conversionFailure(layout.root, conversion) ?? new SaveFault(conversion.why);
    });
    await settle([...converting, complete]);
    const layers = open.map(({ fd }) => fd);
    const conversion = await assembleImage(layers, order.output, order.signal);
    order.signal.throwIfAborted();
    if (!conversion.ok) throw new SaveFault(wordsOf(conversion));
    return conversion.made;
  } finally {
    for (const file of open) await file.close();
    await rm(temporary, { recursive: true, force: true });
  }
}

/** All of them end before any failure is told: they use what is closed then. */
async function settle(work: readonly Promise<void>[]): Promise<void> {
  const settled = await Promise.allSettled(work);
  for (const result of settled) if (result.status === 'rejected') throw result.reason;
}

/** The file that cannot be written is not the store's. */
function wordsOf({ blame, errno, why }: Failed): string {
  return blame === 'storage' && errno !== undefined ? systemWords(getSystemErrorName(-errno)) : why;
}

/**
 * Starts a program that writes the content of a squashfs file as a tar archive. The file is the store's; the program could
 * do nothing even so.
 *
 * @param image a descriptor of it, and `archive` one to write to; both stay the caller's.
 * @returns resolves when it has ended well.
 */
export async function unpackImage(image: number, archive: number, signal: AbortSignal): Promise<void> {
  const argv = [
    ...['--pdeathsig', 'KILL', 'nice', '-n', '10', 'unshare', '--net', '--ipc', '--'],
    ...['setpriv', `--reuid=${CONVERTER_UID}`, `--regid=${CONVERTER_GID}`, '--clear-groups', '--no-new-privs'],
    ...['--inh-caps=-all', '--bounding-set=-all', '--pdeathsig', 'KILL', '--'],
    ...['sqfs2tar', '--no-skip', '--root-becomes', '.', '/proc/self/fd/3'],
  ];
  const child = spawn('setpriv', argv, {
    cwd: '/',
    env: { PATH: '/usr/sbin:/usr/bin:/sbin:/bin', LC_ALL: 'C' },
    stdio: ['ignore', archive, 'pipe', image],
  });
  let said = '';
  child.stderr?.setEncoding('utf8').on('data', (text: string) => (said = (said + text).slice(-1000)));
  const end = (): void => {
    child.kill('SIGKILL');
  };
  signal.addEventListener('abort', end);
  try {
    const [status, failure] = await new Promise<[number | null, string]>((resolve) => {
      child.once('error', (error) => resolve([null, error.message]));
      child.once('close', (code) => resolve([code, said.trim()]));
    });
    if (status !== 0) throw new SaveFault(`the image could not be read: ${failure || `status ${status ?? 'none'}`}`);
  } finally {
    signal.removeEventListener('abort', end);
  }
}
