import { join } from 'node:path';

/** Whose names: everyone's, or one user's. */
export type Scope = 'site' | number;

/**
 * Where things are in the store:
 *
 *     images/sha256/HEX.squashfs   the images, read-only
 *     images/sha256/HEX.json       what each is
 *     refs/site/NAME.json          the names everyone sees
 *     refs/uid-UID/NAME.json       the names one user sees
 *     tmp/                         what is not finished; see temporary.ts
 *
 * A file under refs/ holds the whole record, so that a launch reads one small file. Besides names there is one
 * reference under each digest: it stays when its name is given to another image, so that a job that was submitted with
 * a digest keeps running what it was submitted with.
 */
export class Layout {
  readonly images: string;
  readonly refs: string;
  readonly temporary: string;

  constructor(readonly root: string) {
    this.images = join(root, 'images', 'sha256');
    this.refs = join(root, 'refs');
    this.temporary = join(root, 'tmp');
  }

  image(digest: string): string {
    return join(this.images, `${hexOf(digest)}.squashfs`);
  }

  imageRecord(digest: string): string {
    return join(this.images, `${hexOf(digest)}.json`);
  }

  scope(scope: Scope): string {
    return join(this.refs, scope === 'site' ? 'site' : `uid-${scope}`);
  }

  /** `key` is a name with its tag, or a digest; both fit the alphabet of {@link parseReference}, which has no "+". */
  ref(scope: Scope, key: string): string {
    return join(this.scope(scope), `${key.replaceAll('/', '+')}.json`);
  }

  /** Is this file of a scope's directory a name (true), or a digest or something else? */
  static isName(file: string): boolean {
    return file.endsWith('.json') && !/^sha256:[0-9a-f]{64}\.json$/.test(file);
  }
}

function hexOf(digest: string): string {
  return digest.slice('sha256:'.length);
}
