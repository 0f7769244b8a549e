import { execFile } from 'node:child_process';
import { readdir } from 'node:fs/promises';
import { hostname } from 'node:os';
import { promisify } from 'node:util';
import { nearest } from '../config/index.js';
import { BerthError, errorCode } from '../errors/index.js';
import { native } from '../native/index.js';
import { isShared, mayUseImage, type Person } from '../policy/index.js';
import { holdImage, imageInPlace, releaseImage } from './condemned.js';
import { isDigest } from './digest.js';
import { makeDirectory, writeDurably } from './durable.js';
import { storeFailure } from './failures.js';
import { Layout, type Scope } from './layout.js';
import { formatRecord, parseRecord, type ImageRecord } from './record.js';
import { parseReference, storeKey } from './reference.js';
import { noteSharing } from './sharers.js';

/** In bytes: four times what a record with the longest configuration takes. */
const LARGEST_RECORD = 1024 * 1024;

/** Names that one plain user may have: who looks for an image by its content reads them all, and so does a collector. */
const MOST_NAMES = 1000;

/** Names that are read at a time: a record can have a quarter of a megabyte. */
const READ_AT_A_TIME = 16;

const run = promisify(execFile);

/**
 * What the reference means for this person: among their own images, then the site's; of another user's where it names
 * one. A digest finds what it was imported, pulled or shared as, and nothing else: knowing one is no right to its
 * content. Reads two small files.
 *
 * @param text as the user gave it.
 * @param user how an error calls the user; without it, as the name service does.
 * @throws BerthError BERTH_IMAGE_NAME, BERTH_IMAGE_UNKNOWN, BERTH_IMAGE_DAMAGED, BERTH_STORE_UNUSABLE
 */
export async function findImage(layout: Layout, text: string, person: Person, user?: string): Promise<ImageRecord> {
  const reference = parseReference(text);
  const name = storeKey(reference);
  const key = reference.kind === 'name' ? (reference.digest ?? reference.text) : reference.text;
  const named = reference.kind === 'name' ? reference.owner : undefined;
  // Without waiting where nobody is named: the look begins in this very turn, before anything else the launch needs.
  const scopes = named === undefined ? ownScopes(person) : await scopesOf(named);
  // At once: most images are the site's, and each look takes as long as the store's file system.
  const records = await Promise.all(scopes.map((scope) => readName(layout, scope, key)));
  const found =
    records.find((record) => record !== undefined && mayUseImage(person, record)) ??
    (await findByContent(layout, scopes, person, key));
  if (!found) throw await unknownImage(layout, name, person, user);
  // A digest may have had several names: it is known by the one that was asked for.
  return reference.kind === 'name' ? { ...found, name: reference.text } : found;
}

/** A collector that was killed may have left names whose references under digests it had removed. */
async function findByContent(
  layout: Layout,
  scopes: readonly Scope[],
  person: Person,
  key: string,
): Promise<ImageRecord | undefined> {
  if (!isDigest(key)) return undefined;
  const isUsable = (record: ListedImage): boolean =>
    [record.digest, record.manifest, record.index].includes(key) && mayUseImage(person, record);
  const listed = (await Promise.all(scopes.map((scope) => listNames(layout, scope)))).flat().find(isUsable);
  const record = listed && (await readName(layout, listed.owner, listed.name));
  return record && isUsable(record) ? record : undefined;
}

/** The error for an image that this person does not have, with the name they may have meant. */
export async function unknownImage(layout: Layout, name: string, person: Person, user?: string): Promise<BerthError> {
  const { uid } = person;
  const meant = await meantName(layout, name, person);
  const called = user ?? (await native.account(uid, []))?.name ?? `uid ${uid}`;
  const near = meant === undefined ? '' : `did you mean ${meant}? `;
  return new BerthError('BERTH_IMAGE_UNKNOWN', { name, user: called, host: hostname(), near });
}

/** The name that this person may have meant. Neither a name that cannot be read nor one they may not use is suggested. */
async function meantName(layout: Layout, name: string, person: Person): Promise<string | undefined> {
  const scopes = ownScopes(person);
  const keys = await Promise.all(scopes.map((scope) => namesIn(layout, scope).catch(() => [])));
  const meant = suggestion(name, keys.flat());
  if (meant === undefined) return undefined;
  const records = await Promise.all(scopes.map((scope) => readName(layout, scope, meant).catch(() => undefined)));
  return records.some((record) => record !== undefined && mayUseImage(person, record)) ? meant : undefined;
}

/** Another tag of the same image comes before a slip of the keys. */
function suggestion(name: string, candidates: readonly string[]): string | undefined {
  const path = name.slice(0, name.indexOf(':', name.lastIndexOf('/') + 1) + 1);
  const tags = candidates.filter((candidate) => path !== '' && candidate.startsWith(path));
  return nearest(name, tags) ?? tags[0] ?? nearest(name, candidates);
}

function ownScopes({ uid }: Pick<Person, 'uid'>): Scope[] {
  return uid === 0 ? ['site'] : [uid, 'site'];
}

async function scopesOf(account: string): Promise<Scope[]> {
  const owner = await uidOf(account);
  return owner === undefined ? [] : [owner];
}

/** The user of an account, as the name service has it, which knows a uid too; undefined when it knows none. */
export async function uidOf(account: string): Promise<number | undefined> {
  const { stdout } = await run('getent', ['passwd', account], { timeout: 30_000 }).catch(() => ({ stdout: '' }));
  const uid = /^[^:]*:[^:]*:(\d+):/.exec(stdout)?.[1];
  return uid === undefined ? undefined : Number(uid);
}

/**
 * What goes on meaning this image, whatever becomes of its name: NAME@DIGEST, or the digest alone of one that has no
 * name. The digest is the manifest's where there is one, as that is the same everywhere.
 */
export function pinnedReference(text: string, record: ImageRecord): string {
  const reference = parseReference(text);
  const digest = record.manifest ?? record.digest;
  if (reference.kind === 'name') {
    const { owner, text: name } = reference;
    return `${owner === undefined ? '' : `user:${owner}/`}${name}@${digest}`;
  }
  return isDigest(record.name) ? digest : `${record.name}@${digest}`;
}

/** A name as {@link listNames} gives it: without what is long. */
export type ListedImage = Omit<ImageRecord, 'config' | 'layers'>;

/** The names in a scope, without those that are digests. In no order. */
export function listNames(layout: Layout, scope: Scope): Promise<ListedImage[]> {
  return readNames(layout, scope, (key) => readName(layout, scope, key));
}

/** Those that can be read: one that is damaged is left out. */
export function listReadable(layout: Layout, scope: Scope): Promise<ListedImage[]> {
  return readNames(layout, scope, (key) => readName(layout, scope, key).catch(() => undefined));
}

async function readNames(
  layout: Layout,
  scope: Scope,
  read: (key: string) => Promise<ImageRecord | undefined>,
): Promise<ListedImage[]> {
  const keys = await namesIn(layout, scope);
  const listed: ListedImage[] = [];
  for (let at = 0; at < keys.length; at += READ_AT_A_TIME) {
    const some = keys.slice(at, at + READ_AT_A_TIME).map(read);
    for (const record of await Promise.all(some)) if (record) listed.push(brief(record));
  }
  return listed;
}

function brief(record: ImageRecord): ListedImage {
  const listed: { -readonly [Field in keyof ImageRecord]: ImageRecord[Field] } = { ...record };
  delete listed.config;
  delete listed.layers;
  return listed;
}

async function namesIn(layout: Layout, scope: Scope): Promise<string[]> {
  const files = await readdir(layout.scope(scope)).catch((error: unknown) => {
    if (errorCode(error) === 'ENOENT') return [];
    throw storeFailure(layout.root, error);
  });
  const names = files.filter((file) => Layout.isName(file));
  return names.map((file) => file.slice(0, -'.json'.length).replaceAll('+', '/'));
}

/** @throws BerthError BERTH_NOT_PERMITTED when a plain user would have too many names. */
async function checkCount(layout: Layout, scope: Scope): Promise<void> {
  if (scope === 'site' || (await namesIn(layout, scope)).length < MOST_NAMES) return;
  throw new BerthError('BERTH_NOT_PERMITTED', {
    what: `more than ${MOST_NAMES} names for images`,
    uid: scope,
    why: 'berthd reads them all to find what has no other name',
    hint: 'berth images shows the names you have, berth rmi removes some',
  });
}

/** @param key a name with its tag, or a digest: that of the image's file, of its manifest or of an index that has it. */
export async function readName(layout: Layout, scope: Scope, key: string): Promise<ImageRecord | undefined> {
  const path = layout.ref(scope, key);
  let text: string;
  try {
    text = (await native.readFile(path, LARGEST_RECORD)).toString();
  } catch (error) {
    if (errorCode(error) === 'ENOENT') return undefined;
    throw storeFailure(layout.root, error);
  }
  const record = parseRecord(text, key, path);
  // Content alone decides what a digest means, whoever wrote the reference.
  const other = isDigest(key) && ![record.digest, record.manifest, record.index].includes(key);
  return other ? undefined : record;
}

/**
 * Makes an image that is in its place known: its record, then the digests that find it, then its name. Who else may use a
 * name goes on for its new image: what was for some must not be for everyone because it was renewed.
 *
 * @param temporary a directory for unfinished files.
 * @returns the record under its name.
 * @throws BerthError BERTH_NOT_PERMITTED when a plain user would have too many names; BERTH_IMAGE_UNKNOWN when the image was
 * collected a moment before.
 */
export async function publishNames(
  layout: Layout,
  scope: Scope,
  fresh: ImageRecord,
  temporary: string,
): Promise<ImageRecord> {
  // One that cannot be read has nobody whom it let in.
  const before = await readName(layout, scope, fresh.name).catch(() => undefined);
  if (!before) await checkCount(layout, scope);
  const record = before?.access ? { ...fresh, access: before.access } : fresh;
  const content = formatRecord(record);
  await holdImage(layout, record.digest, temporary);
  await makeDirectory(layout.scope(scope));
  if (isShared(record)) await noteSharing(layout, scope, temporary);
  await writeDurably(layout.imageRecord(record.digest), content, temporary);
  const keys = [record.digest, record.manifest, record.index, record.name].filter((key) => key !== undefined);
  for (const key of new Set(keys)) await writeDurably(layout.ref(scope, key), content, temporary);
  if (!(await imageInPlace(layout, record.digest))) throw await unknownImage(layout, record.name, { uid: 0, gids: [] });
  await releaseImage(layout, record.digest, temporary);
  return record;
}
