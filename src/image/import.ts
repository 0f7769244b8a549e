import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { BerthError, reasonOf } from '../errors/index.js';
import { convertImage, type MadeImage } from './converter.js';
import { conversionFailure, storeFailure } from './failures.js';
import type { Scope } from './layout.js';
import { publishNames } from './names.js';
import { createOutput, placeImage } from './place.js';
import { cutSource, type ImageRecord } from './record.js';
import { makeTemporary } from './temporary.js';
import type { Workshop } from './workshop.js';

export interface ImportOptions {
  /** With its tag. */
  readonly name: string;
  readonly scope: Scope;
  readonly source: string;
  /**
   * Resolves when the client says that the archive is whole: a stream can end properly although its maker failed.
   * Rejects when the client has gone away.
   */
  readonly complete: Promise<void>;
}

/** What an archive became, before it is known under anything but its digest. */
export interface Imported extends Pick<MadeImage, 'digest' | 'size'> {
  /** A directory for unfinished files. */
  readonly temporary: string;
}

/**
 * Makes an image of a tar archive and gives it a name. Until the last step nothing of it can be seen: the image file
 * appears whole under its digest, then its record, and the name at the end.
 *
 * @throws BerthError BERTH_STORE_FULL, BERTH_STORE_UNUSABLE, BERTH_IMPORT_FAILED
 */
export function importArchive(workshop: Workshop, options: ImportOptions, archive: number): Promise<ImageRecord> {
  const { name, scope, source } = options;
  return importAs(workshop, options, archive, ({ digest, size, temporary }) => {
    const created = Math.floor(Date.now() / 1000);
    const record = {
      name,
      digest,
      size,
      created,
      source: cutSource(source),
      owner: scope,
      format: 'squashfs',
    } as const;
    return publishNames(workshop.layout, scope, record, temporary);
  });
}

/**
 * As {@link importArchive}, with `publish` in the place of giving the name.
 *
 * @throws BerthError BERTH_STORE_FULL, BERTH_STORE_UNUSABLE, BERTH_IMPORT_FAILED
 */
export async function importAs(
  workshop: Workshop,
  options: Pick<ImportOptions, 'name' | 'complete'>,
  archive: number,
  publish: (imported: Imported) => Promise<ImageRecord>,
): Promise<ImageRecord> {
  const { layout, self } = workshop;
  let temporary: string | undefined;
  try {
    temporary = await makeTemporary(layout.temporary, self);
    const { digest, size } = await makeImage(workshop, options, archive, temporary);
    return await publish({ digest, size, temporary });
  } catch (error) {
    throw error instanceof BerthError ? error : storeFailure(layout.root, error);
  } finally {
    if (temporary !== undefined) await rm(temporary, { recursive: true, force: true });
  }
}

/** Converts, checks, and moves the image to its place under images/. */
async function makeImage(
  workshop: Workshop,
  options: Pick<ImportOptions, 'name' | 'complete'>,
  archive: number,
  temporary: string,
): Promise<MadeImage> {
  const path = join(temporary, 'image');
  const file = await createOutput(path);
  try {
    const made = await fill(workshop, options, archive, file.fd);
    const fault = await placeImage(workshop.layout, file, path, made);
    if (fault !== undefined) throw failed(options.name, `the image made of the archive is not usable: ${fault}`);
    return made;
  } finally {
    await file.close();
  }
}

/** Runs the converter and waits for the client's word that what it read was all. */
async function fill(
  workshop: Workshop,
  { name, complete }: Pick<ImportOptions, 'name' | 'complete'>,
  archive: number,
  output: number,
): Promise<MadeImage> {
  const gone = new AbortController();
  const departure = complete.then(
    () => undefined,
    (reason: unknown) => {
      gone.abort();
      return failed(name, `the client gave up: ${inWords(reason)}`);
    },
  );
  const conversion = await convertImage(archive, output, workshop, gone.signal);
  if (gone.signal.aborted) throw (await departure) ?? failed(name, 'the client gave up');
  if (!conversion.ok) {
    throw conversionFailure(workshop.layout.root, conversion) ?? failed(name, conversion.why);
  }
  const left = await departure;
  if (left) throw left;
  return conversion.made;
}

function inWords(reason: unknown): string {
  if (reason instanceof BerthError) return reason.why;
  return reasonOf(reason);
}

function failed(name: string, why: string): BerthError {
  return new BerthError('BERTH_IMPORT_FAILED', { name, why });
}
