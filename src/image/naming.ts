import { readdir, rm, unlink } from 'node:fs/promises';
import { BerthError, errorCode } from '../errors/index.js';
import { isShared, type Person } from '../policy/index.js';
import { holdImage, imageInPlace, releaseImage } from './condemned.js';
import { isDigest } from './digest.js';
import { syncDirectory, writeDurably } from './durable.js';
import { Layout, type Scope } from './layout.js';
import { listNames, publishNames, readName, uidOf, unknownImage } from './names.js';
import { formatRecord, type Access, type ImageRecord } from './record.js';
import { parseReference, storeKey, type Reference } from './reference.js';
import { noteSharing } from './sharers.js';
import { makeTemporary, type Owner } from './temporary.js';

// What users do with the names of images that are there. One may change one's own names; root, the site's and everybody's.

/** Names that a reference means among those that this person may change. */
export interface OwnNames {
  readonly scope: Scope;
  readonly image: ImageRecord;
  /** What finds it: its names; of an image without names, digests. */
  readonly keys: readonly string[];
}

/**
 * The names that the reference means in the person's own scope: one, or, of a digest, all that the image has there.
 *
 * @param found what the reference means for this person otherwise, for the error.
 * @throws BerthError BERTH_IMAGE_NAME, BERTH_NOT_PERMITTED, BERTH_IMAGE_UNKNOWN
 */
export async function ownNames(
  layout: Layout,
  text: string,
  person: Person,
  found: () => Promise<ImageRecord>,
): Promise<OwnNames> {
  const reference = parseReference(text);
  const key = storeKey(reference);
  const scope = await scopeOf(reference, person);
  const own = scope === undefined ? undefined : await recordsOf(layout, scope, reference);
  if (scope !== undefined && own) return { scope, ...own };
  const { owner, name } = await found();
  const whose = owner === 'site' ? "the name is the site's" : 'the name is of another user';
  throw new BerthError('BERTH_NOT_PERMITTED', {
    what: `changing or removing ${name === key ? key : `${key} (${name})`}`,
    uid: person.uid,
    why: `${whose}, and only its owner or root may`,
    hint: 'ask its owner; a name of your own is made with berth tag',
  });
}

async function scopeOf(reference: Reference, { uid }: Person): Promise<Scope | undefined> {
  const own = uid === 0 ? 'site' : uid;
  if (reference.kind !== 'name' || reference.owner === undefined) return own;
  const owner = await uidOf(reference.owner);
  return uid === 0 || owner === uid ? owner : undefined;
}

async function recordsOf(
  layout: Layout,
  scope: Scope,
  reference: Reference,
): Promise<Omit<OwnNames, 'scope'> | undefined> {
  const key = reference.kind === 'name' ? (reference.digest ?? reference.text) : reference.text;
  const image = await readName(layout, scope, key);
  if (!image) return undefined;
  if (!isDigest(key)) return { image, keys: [key] };
  const names = (await listNames(layout, scope)).filter(({ digest }) => digest === image.digest);
  if (names.length > 0) return { image, keys: names.map(({ name }) => name) };
  const digests = [image.digest, image.manifest, image.index].filter((digest) => digest !== undefined);
  const records = await Promise.all(digests.map((digest) => readName(layout, scope, digest)));
  return { image, keys: digests.filter((_, i) => records[i]?.digest === image.digest) };
}

/**
 * Gives an image another name.
 *
 * @param name as {@link parseImportName} gives it.
 * @throws BerthError BERTH_IMAGE_UNKNOWN when it was collected a moment before.
 */
export async function tagImage(
  layout: Layout,
  self: Owner,
  { image, name, scope }: { readonly image: ImageRecord; readonly name: string; readonly scope: Scope },
): Promise<ImageRecord> {
  const { access, ...unshared } = image;
  const fresh = { ...unshared, name, owner: scope, created: Math.floor(Date.now() / 1000) };
  // Who may use an image of one's own does not depend on which of one's names for it they use.
  const record = access && image.owner === scope ? { ...fresh, access } : fresh;
  return withImage(layout, self, image, (temporary) => publishNames(layout, scope, record, temporary));
}

/** Says who else may use an image of this scope, under all its names there and by digest. */
export async function shareImage(
  layout: Layout,
  self: Owner,
  { scope, image }: OwnNames,
  access: Access,
): Promise<ImageRecord> {
  return withImage(layout, self, image, async (temporary) => {
    if (isShared({ access })) await noteSharing(layout, scope, temporary);
    for (const file of await readdir(layout.scope(scope))) {
      const key = file.replace(/\.json$/, '').replaceAll('+', '/');
      const record = await readName(layout, scope, key);
      if (record?.digest !== image.digest) continue;
      await writeDurably(layout.ref(scope, key), formatRecord({ ...record, access }), temporary);
    }
    return { ...image, access };
  });
}

export async function removeNames(layout: Layout, { scope, keys }: OwnNames): Promise<void> {
  for (const key of keys) await removeReference(layout.ref(scope, key));
  await syncDirectory(layout.scope(scope));
}

async function removeReference(path: string): Promise<void> {
  try {
    await unlink(path);
  } catch (error) {
    // Somebody else has just done the same.
    if (errorCode(error) !== 'ENOENT') throw error;
  }
}

/** Does something for which the image has to stay until it is done. */
async function withImage<T>(
  layout: Layout,
  self: Owner,
  { digest, name }: ImageRecord,
  work: (temporary: string) => Promise<T>,
): Promise<T> {
  const temporary = await makeTemporary(layout.temporary, self);
  try {
    await holdImage(layout, digest, temporary);
    if (!(await imageInPlace(layout, digest))) throw await unknownImage(layout, name, { uid: 0, gids: [] });
    return await work(temporary);
  } finally {
    await releaseImage(layout, digest, temporary);
    await rm(temporary, { recursive: true, force: true });
  }
}
