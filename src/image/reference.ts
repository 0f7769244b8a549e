import { BerthError } from '../errors/index.js';
import { isDigest } from './digest.js';

/** What a user may write for an image. */
export type Reference =
  | NameReference
  | { readonly kind: 'digest'; /** "sha256:" and 64 lower-case hexadecimal digits. */ readonly text: string }
  | { readonly kind: 'path'; /** As given: absolute, or from the user's own directory. */ readonly text: string };

export interface NameReference {
  readonly kind: 'name';
  /**
   * As `berth images` shows it, e.g. "debian:12": Docker Hub's "docker.io/" and "library/" are left out, and the tag is
   * "latest" where the user gave neither tag nor digest. With a digest there may be no tag.
   */
  readonly text: string;
  /** What the name is pinned to, and what decides when tag and digest disagree. */
  readonly digest?: string;
  /** The account at the registry, as Pyxis and enroot have it before an "@". */
  readonly account?: string;
  /** Whose name it is, where it is another user's: "user:OWNER/NAME". */
  readonly owner?: string;
}

/** Longest name with its tag, in bytes: as a file name, with ".json", it stays under the usual limit of 255. */
export const NAME_LIMIT = 240;
/** Longest path, in bytes: PATH_MAX without its NUL. */
const PATH_LIMIT = 4095;

/** The grammar of the OCI distribution specification, so that every name can also be one in a registry. */
const COMPONENT = /^[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*$/;
const TAG = /^[A-Za-z0-9_][A-Za-z0-9._-]{0,127}$/;
const REGISTRY = /^(?:[A-Za-z0-9]|[A-Za-z0-9][A-Za-z0-9-]*[A-Za-z0-9])(?:\.[A-Za-z0-9-]*[A-Za-z0-9])*(?::[0-9]{1,5})?$/;
/** shadow-utils' names and those of directories, which have capitals and dots. Only digits would be a registry's port. */
const OWNER = /^(?=.*[^0-9])[A-Za-z0-9_][A-Za-z0-9._-]*$/;
/** What follows an "@" and is meant as a digest, right or wrong. */
const DIGEST_LIKE = /^(?:$|sha\d+(?::|$)|[A-Za-z0-9+._-]+:[0-9a-f]{32,}$)/i;
const ACCOUNT = /^(?!-)[^\s/#:\p{Cc}]+$/u;

const HUB = 'docker.io';
/** What other tools call archives, directories and stores of their own. */
const IMPORTED = /^(?:(?:docker-archive|oci-archive|docker-daemon|containers-storage):|(?:oci|dir):(?!\d{1,5}\/).*\/)/s;

/**
 * Reads what a user may write for an image:
 *
 *     [docker://][REGISTRY/]PATH[:TAG][@sha256:HEX]
 *     docker:NAME:TAG, id:HEX                         as Shifter's users write them
 *     [docker://][ACCOUNT@][REGISTRY#]PATH[:TAG]      as Pyxis's and enroot's do
 *     user:OWNER/NAME[:TAG]                           what another user shares
 *     sha256:HEX
 *     /PATH, ./PATH, ../PATH                          a file
 *
 * @throws BerthError BERTH_IMAGE_NAME
 */
export function parseReference(text: string): Reference {
  if (text === '') throw invalid('""', 'it is empty');
  if (text === 'none') throw invalid(text, '--image=none asks for no container at all');
  if (/^\.{0,2}\//.test(text)) return { kind: 'path', text: parsePath(text) };
  const digest = /^(?:id:(?=[0-9a-f]{64}$)|sha256:)(.*)$/is.exec(text)?.[1];
  if (digest !== undefined) return { kind: 'digest', text: parseDigest(text, `sha256:${digest}`) };
  // Nothing longer can be right, and what follows is written for short strings.
  if (Buffer.byteLength(text) > PATH_LIMIT) throw tooLong(text, NAME_LIMIT);
  return parseName(text);
}

/**
 * As {@link parseReference}, for what an image may be called: not a digest, which content alone decides, nor a file.
 *
 * @throws BerthError BERTH_IMAGE_NAME
 */
export function parseImportName(text: string): string {
  const reference = parseReference(text);
  switch (reference.kind) {
    case 'path':
      throw invalid(text, 'it looks like a path; berth import NAME SOURCE gives a file or directory a name');
    case 'digest':
      throw invalid(text, 'it is a digest: that follows from the content, and cannot be given');
    case 'name':
      if (reference.digest !== undefined)
        throw invalid(text, 'it holds a digest: that follows from the content, and cannot be given');
      if (reference.owner !== undefined) throw invalid(text, "it is a name of another user's");
      if (reference.account !== undefined) throw invalid(text, 'an account at a registry is no part of a name');
      return reference.text;
  }
}

/**
 * One spelling of all that mean the same in the store: the digest, where there is one, and the name otherwise. Reading it
 * gives the same reference again.
 *
 * @throws BerthError BERTH_IMAGE_NAME for a file, which no store knows.
 */
export function storeKey(reference: Reference): string {
  if (reference.kind === 'path') throw invalid(reference.text, 'it is a path, not the name of an image in the store');
  if (reference.kind === 'digest') return reference.text;
  const { text, digest, owner } = reference;
  // Among another user's names, a digest finds what that user shares.
  if (owner !== undefined) return `user:${owner}/${text}${digest === undefined ? '' : `@${digest}`}`;
  return digest ?? text;
}

/** The registry that a name is in, with its port: "docker.io" for names without one. */
export function registryOf({ text }: NameReference): string {
  return splitRegistry(text).registry;
}

/** A name as skopeo takes it: "docker://docker.io/library/ubuntu:24.04". A digest takes the tag's place. */
export function registryReference({ text, digest }: NameReference): string {
  const { registry, rest } = splitRegistry(text);
  const path = registry === HUB && !rest.includes('/') ? `library/${rest}` : rest;
  return `docker://${registry}/${digest === undefined ? path : `${splitTag(path).path}@${digest}`}`;
}

function parsePath(text: string): string {
  if (text.includes('\0')) throw invalid(text, 'a path cannot hold a NUL');
  if (Buffer.byteLength(text) > PATH_LIMIT) throw tooLong(text, PATH_LIMIT);
  return text;
}

function parseDigest(whole: string, text: string): string {
  const digest = text.toLowerCase();
  if (!isDigest(digest)) throw invalid(whole, 'a digest is sha256: and 64 hexadecimal digits');
  return digest;
}

function parseName(whole: string): NameReference {
  refuseForeign(whole);
  const shared = /^user:([^/]*)\/(.*)$/s.exec(whole);
  if (shared && !/^\d{1,5}$/.test(shared[1] ?? '')) return parseShared(whole, shared[1] ?? '', shared[2] ?? '');
  const { account, rest } = takeAccount(whole, withoutScheme(whole));
  const { name, digest } = takeDigest(whole, rest);
  const text = checkName(whole, withoutHub(name), digest !== undefined);
  return {
    kind: 'name',
    text,
    ...(digest === undefined ? {} : { digest }),
    ...(account === undefined ? {} : { account }),
  };
}

/** What people would expect to work, and why it does not. */
function refuseForeign(text: string): void {
  if (text.startsWith('~'))
    throw invalid(text, 'it looks like a path, and the shell replaces "~" only at the start of a word: write "$HOME"');
  if (IMPORTED.test(text)) throw invalid(text, 'archives and other stores get a name first: berth import NAME SOURCE');
  const scheme = /^([a-z][a-z0-9+.-]*):\/\//i.exec(text)?.[1];
  if (scheme !== undefined && scheme !== 'docker')
    throw invalid(
      text,
      `berth does not know ${scheme}://: images of registries are called docker://NAME, or just NAME`,
    );
}

/** How others name what an account shares; undefined where that is none that can stand in a reference. */
export function sharedName(account: string, name: string): string | undefined {
  return OWNER.test(account) ? `user:${account}/${name}` : undefined;
}

function parseShared(whole: string, owner: string, rest: string): NameReference {
  if (!OWNER.test(owner)) throw invalid(whole, `${owner === '' ? '""' : owner} is not the name of a user`);
  const { name, digest } = takeDigest(whole, rest);
  const text = checkName(whole, withoutHub(name), digest !== undefined);
  return { kind: 'name', text, ...(digest === undefined ? {} : { digest }), owner };
}

/** Shifter's "docker:NAME" has a tag or a path after NAME; "docker:24" is the image docker, "docker:5000/…" a registry. */
function withoutScheme(text: string): string {
  if (text.startsWith('docker://')) return text.slice('docker://'.length);
  const name = /^docker:(?!\d{1,5}\/)([^@]*)/.exec(text)?.[1];
  return name !== undefined && /[:/]/.test(name) ? text.slice('docker:'.length) : text;
}

function takeAccount(whole: string, text: string): { account: string | undefined; rest: string } {
  const hash = text.indexOf('#');
  const at = hash === -1 ? accountEnd(text) : text.lastIndexOf('@', hash);
  const account = at === -1 ? undefined : text.slice(0, at);
  if (account !== undefined && !ACCOUNT.test(account))
    throw invalid(whole, `${account === '' ? '""' : account} is not the name of an account at a registry`);
  if (hash === -1) return { account, rest: text.slice(at + 1) };
  const registry = text.slice(at + 1, hash);
  if (!isRegistry(registry) || !REGISTRY.test(registry))
    throw invalid(
      whole,
      `${registry === '' ? '""' : registry} before the "#" is not a registry, such as nvcr.io or host:5000`,
    );
  return { account, rest: `${registry}/${text.slice(hash + 1)}` };
}

/** Where ACCOUNT@ ends when no registry follows; the "@" of a digest is none. */
function accountEnd(text: string): number {
  const at = text.indexOf('@');
  return DIGEST_LIKE.test(text.slice(at + 1)) ? -1 : at;
}

function takeDigest(whole: string, text: string): { name: string; digest: string | undefined } {
  const at = text.indexOf('@');
  if (at === -1) return { name: text, digest: undefined };
  return { name: text.slice(0, at), digest: parseDigest(whole, text.slice(at + 1)) };
}

function withoutHub(name: string): string {
  const path = name.replace(/^(?:index\.)?docker\.io\//, '');
  // library/a/b is none of Docker Hub's own images.
  return /^library\/[^/]+$/.test(path) ? path.slice('library/'.length) : path;
}

function checkName(whole: string, name: string, pinned: boolean): string {
  const { path, tag = pinned ? undefined : 'latest' } = splitTag(name);
  if (tag !== undefined && !TAG.test(tag)) {
    throw invalid(
      whole,
      `${tag === '' ? 'the tag is empty' : `${tag} is not a tag`}: letters, digits, "_", "." and "-", at most 128`,
    );
  }
  const components = path.split('/');
  components.forEach((component, index) => {
    const mayBeRegistry = index === 0 && components.length > 1 && isRegistry(component);
    if (COMPONENT.test(component) || (mayBeRegistry && REGISTRY.test(component))) return;
    throw invalid(whole, whyNot(component));
  });
  const text = tag === undefined ? path : `${path}:${tag}`;
  if (text.length > NAME_LIMIT) throw tooLong(text, NAME_LIMIT);
  // docker.io/sha256:HEX: the store would take it for what its tag says.
  if (isDigest(text)) throw invalid(whole, 'as a name it could not be told from a digest');
  return text;
}

function splitTag(name: string): { path: string; tag?: string } {
  const colon = name.indexOf(':', name.lastIndexOf('/') + 1);
  return colon === -1 ? { path: name } : { path: name.slice(0, colon), tag: name.slice(colon + 1) };
}

function splitRegistry(name: string): { registry: string; rest: string } {
  const slash = name.indexOf('/');
  const first = name.slice(0, Math.max(slash, 0));
  return isRegistry(first) ? { registry: first, rest: name.slice(slash + 1) } : { registry: HUB, rest: name };
}

/** How all tools tell a registry from a user of Docker Hub. */
function isRegistry(component: string): boolean {
  return /[.:]|^localhost$/.test(component);
}

function whyNot(component: string): string {
  if (component === '') return 'there is nothing between two "/", or at an end';
  const lower = component.toLowerCase();
  if (lower !== component && COMPONENT.test(lower)) return `${component} has capital letters`;
  return `${component} is not lower-case letters and digits, joined by ".", "_", "__" or "-"`;
}

function tooLong(text: string, limit: number): BerthError {
  return invalid(`${text.slice(0, 40)}…`, `it has ${text.length} characters, more than ${limit}`);
}

function invalid(name: string, why: string): BerthError {
  return new BerthError('BERTH_IMAGE_NAME', { name, why });
}
