import { BerthError } from '../errors/index.js';

/** What a user may write for an image: a name, with its tag, or the digest of its content. */
export type Reference =
  | { readonly kind: 'name'; /** With the tag, e.g. "debian:12". */ readonly text: string }
  | { readonly kind: 'digest'; /** "sha256:" and 64 lower-case hexadecimal digits. */ readonly text: string };

/** Longest name with its tag, in bytes: as a file name, with ".json", it stays under the usual limit of 255. */
export const NAME_LIMIT = 240;

const DIGEST = /^sha256:[0-9a-f]{64}$/;
/** The grammar of the OCI distribution specification, so that every name can also be one in a registry. */
const COMPONENT = /^[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*$/;
const TAG = /^[A-Za-z0-9_][A-Za-z0-9._-]{0,127}$/;
const REGISTRY = /^(?:[A-Za-z0-9]|[A-Za-z0-9][A-Za-z0-9-]*[A-Za-z0-9])(?:\.[A-Za-z0-9-]*[A-Za-z0-9])*(?::[0-9]{1,5})?$/;

/**
 * Reads [REGISTRY/]PATH[:TAG] (tag "latest" when left out) or sha256:HEX.
 *
 * @throws BerthError BERTH_IMAGE_NAME
 */
export function parseReference(text: string): Reference {
  if (/^sha256:/i.test(text)) {
    const digest = text.toLowerCase();
    if (!DIGEST.test(digest)) throw invalid(text, 'a digest is sha256: and 64 hexadecimal digits');
    return { kind: 'digest', text: digest };
  }
  return { kind: 'name', text: parseName(text) };
}

/**
 * As {@link parseReference}, for what an import may be called: not a digest, which content alone decides.
 *
 * @throws BerthError BERTH_IMAGE_NAME
 */
export function parseImportName(text: string): string {
  const reference = parseReference(text);
  if (reference.kind === 'name') return reference.text;
  throw invalid(text, 'it is a digest: that follows from the content, and cannot be given');
}

function parseName(text: string): string {
  if (text === '') throw invalid('""', 'it is empty');
  if (text === 'none') throw invalid(text, '--image=none asks for no container at all');
  if (/^[./~]/.test(text))
    throw invalid(text, 'it looks like a path; berth import NAME SOURCE gives a file or directory a name');
  if (text.includes('@')) throw invalid(text, 'NAME@DIGEST is not supported: give the name or the digest');
  const slash = text.lastIndexOf('/');
  const colon = text.indexOf(':', slash + 1);
  const path = colon === -1 ? text : text.slice(0, colon);
  const tag = colon === -1 ? 'latest' : text.slice(colon + 1);
  if (!TAG.test(tag)) {
    throw invalid(
      text,
      `${tag === '' ? 'the tag is empty' : `${tag} is not a tag`}: letters, digits, "_", "." and "-", at most 128`,
    );
  }
  const components = path.split('/');
  components.forEach((component, index) => {
    const mayBeRegistry = index === 0 && components.length > 1 && /[.:]|^localhost$/.test(component);
    if (COMPONENT.test(component) || (mayBeRegistry && REGISTRY.test(component))) return;
    throw invalid(text, whyNot(component));
  });
  const name = `${path}:${tag}`;
  if (name.length > NAME_LIMIT)
    throw invalid(`${name.slice(0, 40)}…`, `it has ${name.length} characters, more than ${NAME_LIMIT}`);
  return name;
}

function whyNot(component: string): string {
  if (component === '') return 'there is nothing between two "/", or at an end';
  const lower = component.toLowerCase();
  if (lower !== component && COMPONENT.test(lower)) return `${component} has capital letters`;
  return `${component} is not lower-case letters and digits, joined by ".", "_", "__" or "-"`;
}

function invalid(name: string, why: string): BerthError {
  return new BerthError('BERTH_IMAGE_NAME', { name, why });
}
