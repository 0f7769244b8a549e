/** "glibc-ld.so.cache1.1", the form since glibc 2.2; before 2.32 it follows one of the older form in the same file. */
const MAGIC = 'glibc-ld.so.cache1.1';
const OLD_MAGIC = 'ld.so-1.7.0';
const HEADER = 48;
const ENTRY = 24;

/**
 * Reads /etc/ld.so.cache (glibc, sysdeps/generic/dl-cache.h): the paths of libraries by their names, those that the linker
 * prefers first. The file may be an image's: what does not fit is left out.
 */
export function readLinkerCache(file: Buffer): ReadonlyMap<string, readonly string[]> {
  const libraries = new Map<string, string[]>();
  const start = startOf(file);
  if (start === undefined) return libraries;
  const cache = file.subarray(start);
  const count = Math.min(cache.readUInt32LE(MAGIC.length), Math.floor((cache.length - HEADER) / ENTRY));
  for (let i = 0; i < count; i++) {
    const at = HEADER + i * ENTRY;
    const name = textAt(cache, cache.readUInt32LE(at + 4));
    const path = textAt(cache, cache.readUInt32LE(at + 8));
    if (name === '' || !path.startsWith('/')) continue;
    const known = libraries.get(name);
    if (known) known.push(path);
    else libraries.set(name, [path]);
  }
  return libraries;
}

function startOf(file: Buffer): number | undefined {
  let start = 0;
  if (file.toString('latin1', 0, OLD_MAGIC.length) === OLD_MAGIC && file.length >= 16) {
    start = 16 + 12 * file.readUInt32LE(12);
    start += (8 - (start % 8)) % 8;
  }
  const there = file.length >= start + HEADER && file.toString('latin1', start, start + MAGIC.length) === MAGIC;
  return there ? start : undefined;
}

function textAt(file: Buffer, at: number): string {
  const end = file.indexOf(0, at);
  return at < file.length && end >= 0 && end - at <= 4096 ? file.toString('latin1', at, end) : '';
}
