/** A row of /etc/subuid or /etc/subgid: ids that belong to one user alone. */
export interface SubordinateRange {
  readonly start: number;
  readonly count: number;
}

/** The first ids are what images use: files of a distribution have owners below this (login.defs, 16-bit ids). */
export const IMAGE_IDS = 65536;

// user_namespaces(7): at most 340 lines (Linux 4.15), and one write of less than a page (kernel/user_namespace.c).
const MOST_LINES = 340;
const MOST_BYTES = 4095;

/**
 * The id map of a namespace in which the given ids are themselves, and every other id an image uses is one of the
 * user's subordinate ids, so that image files show their true owners.
 *
 * Image id `i` is always `start + i`, whatever the identity ids are; it stays without a mapping where `start + i` is
 * itself one of `ids`, as on a site whose groups have numbers of the subordinate ranges. Where there is no room for
 * everything (a user in hundreds of groups), the image's ids go first and then the last of `ids`: those groups still
 * count, the kernel just shows them as nobody.
 *
 * @param ids what maps to itself, the most important first
 */
export function identityMap(ids: readonly number[], range: SubordinateRange | undefined): string {
  const wanted = [...new Set(ids)];
  const full = lines(wanted, range);
  if (fits(full)) return full.join('');
  // By halves: one id at a time would keep berthd busy for a second where a user is in thousands of groups.
  let best: string[] = [];
  for (let low = 1, high = wanted.length; low <= high;) {
    const count = (low + high) >> 1;
    const identities = lines(wanted.slice(0, count), undefined);
    if (fits(identities)) {
      best = identities;
      low = count + 1;
    } else {
      high = count - 1;
    }
  }
  return best.join('');
}

/**
 * The id map of a namespace in which the user is root, and every other id an image uses is one of their subordinate ids.
 * Without those there is but the one id.
 */
export function rootMap(id: number, range: SubordinateRange | undefined): string {
  const own = `0 ${id} 1\n`;
  if (!range) return own;
  // The user's own id may lie in a range of theirs: the kernel takes no id twice.
  const images = imageRanges([id], { start: range.start - 1, count: range.count + 1 });
  return own + gap(1, IMAGE_IDS, images).join('');
}

function lines(ids: readonly number[], range: SubordinateRange | undefined): string[] {
  const sorted = [...ids].sort((a, b) => a - b);
  const images = range ? imageRanges(sorted, range) : [];
  const result: string[] = [];
  let next = 0;
  for (let i = 0; i < sorted.length;) {
    const first = sorted[i] ?? 0;
    let count = 1;
    while (sorted[i + count] === first + count) count++;
    result.push(...gap(next, first, images), `${first} ${first} ${count}\n`);
    next = first + count;
    i += count;
  }
  result.push(...gap(next, IMAGE_IDS, images));
  return result;
}

/** Image ids from `first` up to `end` that have subordinate ids. */
interface ImageRange {
  readonly first: number;
  readonly end: number;
  readonly start: number;
}

/** The kernel takes no host id twice: those of `sorted` are left out. */
function imageRanges(sorted: readonly number[], { start, count }: SubordinateRange): ImageRange[] {
  const end = Math.min(count, IMAGE_IDS);
  const taken = sorted.filter((id) => id >= start && id < start + end).map((id) => id - start);
  return [...taken, end].map((stop, i) => ({ first: i === 0 ? 0 : (taken[i - 1] ?? 0) + 1, end: stop, start }));
}

/** The lines for image ids from `from` up to `to`. */
function gap(from: number, to: number, images: readonly ImageRange[]): string[] {
  return images.flatMap((image) => {
    const first = Math.max(from, image.first);
    const end = Math.min(to, image.end);
    return end > first ? [`${first} ${image.start + first} ${end - first}\n`] : [];
  });
}

/** Does a map have more than one id? */
export function mapsSeveral(map: string): boolean {
  const rows = map.split('\n').filter((row) => row !== '');
  return rows.length > 1 || Number(rows[0]?.trim().split(/\s+/)[2] ?? 0) > 1;
}

function fits(map: readonly string[]): boolean {
  return map.length <= MOST_LINES && map.reduce((bytes, line) => bytes + line.length, 0) <= MOST_BYTES;
}

/**
 * The user's subordinate ids: the largest of their rows (subuid(5): name or number, start, count). Undefined when they
 * have none.
 */
export function subordinateRange(text: string, name: string, uid: number): SubordinateRange | undefined {
  let best: SubordinateRange | undefined;
  for (const line of text.split('\n')) {
    const [owner, start, count, ...rest] = line.split(':');
    if ((owner !== name && owner !== String(uid)) || rest.length > 0) continue;
    const range = { start: Number(start), count: Number(count) };
    const numbers = [range.start, range.count, range.start + range.count];
    const valid = numbers.every((n) => Number.isSafeInteger(n) && n > 0 && n < 2 ** 32);
    if (valid && (!best || range.count > best.count)) best = range;
  }
  return best;
}
