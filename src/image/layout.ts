import { join } from 'node:path';
import { hexOf, isDigest } from './digest.js';

/** Whose names: everyone's, or one user's. */
export type Scope = 'site' | number;

/**
 * Where things are in the store:
 *
 *     images/sha256/HEX.squashfs      the images, read-only
 *     images/sha256/HEX.json          what each is
 *     refs/site/NAME.json             the names everyone sees
 *     refs/uid-UID/NAME.json          the names one user sees
 *     shared/uid-UID                  that user shares names with others, or did not long ago; see sharers.ts
 *     manifests/sha256/HEX.json       which image was made of a manifest, and who has shown to have it
 *     layers/sha256/HEX.layer         a converted layer, by the digest of its blob
 *     layers/sha256/HEX.json          what it is, and who has shown to have it; its time is that of its last use
 *     files/HEX.json                  which image was made of a user's file, for that user; see file-images.ts
 *     leases/KEY.json                 who pulls what now, or makes an image of which file
 *     promises/HEX/uid-UID            submitted jobs of a user will need the image; its time is the last one's
 *     uses/HEX/HOST-JOB               a job has the image mounted
 *     uses/HEX/last                   its time is that of the image's last launch
 *     tmp/                            what is not finished; see temporary.ts
 *
 * A file under refs/ holds the whole record, so that a launch reads one small file. Besides names there is one
 * reference under each digest (of the file, of the manifest, of the index): it stays when its name is given to another
 * image, so that a job that was submitted with a digest keeps running what it was submitted with.
 */
export class Layout {
  readonly images: string;
  readonly refs: string;
  readonly shared: string;
  readonly manifests: string;
  readonly layers: string;
  readonly files: string;
  readonly leases: string;
  readonly promises: string;
  readonly uses: string;
  readonly temporary: string;

  constructor(readonly root: string) {
    this.images = join(root, 'images', 'sha256');
    this.refs = join(root, 'refs');
    this.shared = join(root, 'shared');
    this.manifests = join(root, 'manifests', 'sha256');
    this.layers = join(root, 'layers', 'sha256');
    this.files = join(root, 'files');
    this.leases = join(root, 'leases');
    this.promises = join(root, 'promises');
    this.uses = join(root, 'uses');
    this.temporary = join(root, 'tmp');
  }

  /** Every directory of the store below its own, parents first. */
  directories(): string[] {
    const { images, manifests, layers } = this;
    const byDigest = [images, manifests, layers].flatMap((path) => [join(path, '..'), path]);
    return [
      ...byDigest,
      this.refs,
      this.scope('site'),
      this.shared,
      this.files,
      this.leases,
      this.promises,
      this.uses,
      this.temporary,
    ];
  }

  image(digest: string): string {
    return join(this.images, `${hexOf(digest)}.squashfs`);
  }

  imageRecord(digest: string): string {
    return join(this.images, `${hexOf(digest)}.json`);
  }

  manifest(digest: string): string {
    return join(this.manifests, `${hexOf(digest)}.json`);
  }

  layer(digest: string): string {
    return join(this.layers, `${hexOf(digest)}.layer`);
  }

  layerRecord(digest: string): string {
    return join(this.layers, `${hexOf(digest)}.json`);
  }

  /** What was made of a user's file; `key` is a hash as digests are written. */
  file(key: string): string {
    return join(this.files, `${hexOf(key)}.json`);
  }

  /** The lease for pulling the image of a manifest. */
  lease(manifest: string): string {
    return join(this.leases, `${hexOf(manifest)}.json`);
  }

  promisesOf(digest: string): string {
    return join(this.promises, hexOf(digest));
  }

  usesOf(digest: string): string {
    return join(this.uses, hexOf(digest));
  }

  scope(scope: Scope): string {
    return join(this.refs, scope === 'site' ? 'site' : `uid-${scope}`);
  }

  sharing(uid: number): string {
    return join(this.shared, `uid-${uid}`);
  }

  /** `key` is a name with its tag, or a digest; both fit the alphabet of references, which has no "+". */
  ref(scope: Scope, key: string): string {
    return join(this.scope(scope), `${key.replaceAll('/', '+')}.json`);
  }

  /** Is this file of a scope's directory a name (true), or a digest or something else? */
  static isName(file: string): boolean {
    return file.endsWith('.json') && !isDigest(file.slice(0, -'.json'.length));
  }
}
