import { hostname } from 'node:os';
import { BerthError } from '../../errors/index.js';
import { registryOf, registryReference, type NameReference } from '../../image/reference.js';
import { explain, faultOf, type Subject } from './explain.js';
import { chooseImage, digestOf, MANIFEST_LIMIT, parseDocument, platformOf, type Blob } from './manifest.js';
import { fitness, hostPlatform, showPlatform, type Platform } from './platform.js';
import { checkPolicy } from './policy.js';
import { ImageProxy } from './proxy.js';
import { runSkopeo } from './skopeo.js';

export interface Content {
  readonly digest: string;
  readonly bytes: Buffer;
}

/** An image that was found at its place, and whose blobs can be had from there. */
export interface RemoteImage {
  /** As errors name it. */
  readonly subject: Subject;
  /** With its transport, as berth images shows it. */
  readonly source: string;
  readonly manifest: Content;
  /** What the manifest was chosen from. */
  readonly index: Content | undefined;
  readonly config: Blob;
  readonly layers: readonly Blob[];
  readonly platform: Platform | undefined;
  /** Was it read without credentials? */
  readonly everyone: boolean;
  /** How many of its blobs are to be fetched at a time. */
  readonly streams: number;
  /** Starts a skopeo that gives its blobs. */
  readonly open: (signal: AbortSignal) => Promise<ImageProxy>;
  /** What to throw for what {@link open} and its proxies throw. */
  readonly explain: (error: unknown) => unknown;
}

export interface RemoteOptions {
  /** What the user asked for; this host's when they did not. */
  readonly platform: Platform | undefined;
  /** Where credentials are, instead of the usual places. */
  readonly authfile: string | undefined;
  readonly tlsVerify: boolean;
}

/** Layers that are fetched at a time. Each takes a thread of Node's four while it waits for skopeo. */
const STREAMS = 3;

/**
 * Finds an image at its registry: without credentials, or with the user's where that is refused.
 *
 * @throws BerthError BERTH_PULL_…, BERTH_REGISTRY_…; the signal's reason
 */
export async function findRemote(
  reference: NameReference,
  options: RemoteOptions,
  signal: AbortSignal,
): Promise<RemoteImage> {
  const registry = registryOf(reference);
  const subject = { name: fullName(reference), registry };
  const source = registryReference(reference);
  const tls = options.tlsVerify ? [] : ['--tls-verify=false'];
  const withCredentials = [...tls, ...(options.authfile === undefined ? [] : ['--authfile', options.authfile])];
  const anonymous = [...tls, '--no-creds'];

  const read = async (from: string, flags: readonly string[]): Promise<Content> => {
    const argv = ['inspect', '--raw', ...flags, from];
    const bytes = await runSkopeo(argv, signal, { limit: MANIFEST_LIMIT });
    const content = { bytes, digest: digestOf(bytes) };
    const wanted = /@(sha256:.*)$/.exec(from)?.[1] ?? content.digest;
    if (content.digest === wanted) return content;
    throw new BerthError('BERTH_PULL_DIGEST', {
      blob: 'the manifest',
      name: subject.name,
      why: `${wanted} was asked for, and ${registry} sent ${content.digest}`,
    });
  };

  // As whom it is asked, once that has turned out to be needed.
  let login = undefined as string | undefined;
  const explained = (error: unknown): unknown => explain(error, subject, login);
  try {
    const top = await read(source, anonymous).catch(async (error: unknown) => {
      if (faultOf(error) !== 'denied') throw error;
      login = await loginAt(registry, reference.account, options.authfile, signal);
      return read(source, withCredentials);
    });
    const everyone = login === undefined;
    const flags = everyone ? anonymous : withCredentials;
    const wish = options.platform ?? hostPlatform();
    const found = await resolveIndex(top, wish, subject.name, (digest) =>
      read(registryReference({ ...reference, digest }), flags),
    );
    const pinned = registryReference({ ...reference, digest: found.manifest.digest });
    const open = (within: AbortSignal): Promise<ImageProxy> =>
      ImageProxy.open({ reference: pinned, options: flags }, within);
    const platform = found.platform ?? (await readPlatform(found.config, open, signal));
    if (platform !== undefined && fitness(platform, wish) === 0) throw otherPlatform(subject.name, platform, wish);
    await checkPolicy(
      { reference: source, flags: tls, everyone, authfile: options.authfile },
      found,
      wish,
      subject,
      signal,
    );
    return {
      subject,
      source,
      ...found,
      platform,
      index: found.manifest === top ? undefined : top,
      everyone,
      streams: STREAMS,
      open,
      explain: explained,
    };
  } catch (error) {
    signal.throwIfAborted();
    throw explained(error);
  }
}

interface Found {
  readonly manifest: Content;
  readonly config: Blob;
  readonly layers: readonly Blob[];
  readonly platform: Platform | undefined;
}

/** An index may name others; nobody needs more levels than these. */
const INDEX_LEVELS = 3;

async function resolveIndex(
  top: Content,
  wish: Platform,
  name: string,
  read: (digest: string) => Promise<Content>,
): Promise<Found> {
  let manifest = top;
  let platform: Platform | undefined;
  for (let level = 0; level <= INDEX_LEVELS; level++) {
    const document = parseDocument(manifest.bytes, name);
    if (document.type === 'image') return { manifest, config: document.config, layers: document.layers, platform };
    const chosen = chooseImage(document.images, wish, name);
    platform = chosen.platform;
    manifest = await read(chosen.digest);
  }
  throw new BerthError('BERTH_PULL_MANIFEST', {
    name,
    why: `its index leads to others, more than ${INDEX_LEVELS} deep`,
  });
}

/** What an image's configuration says it is for. */
export async function readPlatform(
  config: Blob,
  open: (signal: AbortSignal) => Promise<ImageProxy>,
  signal: AbortSignal,
): Promise<Platform | undefined> {
  const proxy = await open(signal);
  try {
    return platformOf(await proxy.read(config));
  } finally {
    await proxy.close();
  }
}

/** Whose credentials are used, in words for the case that the registry refuses them. */
async function loginAt(
  registry: string,
  account: string | undefined,
  authfile: string | undefined,
  signal: AbortSignal,
): Promise<string> {
  const file = authfile === undefined ? [] : ['--authfile', authfile];
  const user = await runSkopeo(['login', '--get-login', ...file, registry], signal)
    .then((output) => output.toString().trim())
    .catch((error: unknown) => {
      if (error instanceof BerthError) throw error;
      return '';
    });
  signal.throwIfAborted();
  const as = account === undefined || account === user ? '' : `, and not as ${account}`;
  return user === ''
    ? `it was asked without credentials: you are not logged in there on ${hostname()}`
    : `you are logged in there as ${user}${as}`;
}

function otherPlatform(name: string, platform: Platform, wish: Platform): BerthError {
  return new BerthError('BERTH_PULL_PLATFORM', {
    name,
    platform: showPlatform(wish),
    why: `it is made for ${showPlatform(platform)} alone`,
  });
}

function fullName({ text, digest }: NameReference): string {
  return digest === undefined ? text : `${text}@${digest}`;
}
