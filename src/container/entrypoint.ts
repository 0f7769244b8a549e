import { readFileSync } from 'node:fs';
import { entrypointExecutable } from '../native/index.js';
import type { PlannedFile } from '../options/index.js';

/** native/entrypoint/report.h */
const HELPER = '/.berth/entrypoint';
const WORDS = '/.berth/entrypoint.argv';

/**
 * What a container needs for its programs to be started by the image's entrypoint: the words of that, and what reports
 * what it has prepared (docs/adr/0017). The latter is copied in: users need not be able to reach where Berth is installed.
 *
 * @param words the image's Entrypoint; without any, nothing is needed
 */
export function entrypointFiles(words: readonly string[]): PlannedFile[] {
  if (words.length === 0) return [];
  const argv = Buffer.from(words.map((word) => `${word}\0`).join(''));
  return [
    { origin: 'berth', message: { path: HELPER, content: readFileSync(entrypointExecutable), mode: 0o755 } },
    { origin: 'image', message: { path: WORDS, content: argv } },
  ];
}
