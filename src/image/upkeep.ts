import { BerthError } from '../errors/index.js';
import { native } from '../native/index.js';
import type { Person } from '../policy/index.js';
import { collect, collectOne, type Collected, type CollectOptions } from './collect.js';
import { storeFailure } from './failures.js';
import { breakPromises } from './keeping.js';
import type { Layout, Scope } from './layout.js';
import { ownNames, removeNames, shareImage, tagImage } from './naming.js';
import { sha256Of } from './place.js';
import { isListOfIds, type Access, type ImageRecord } from './record.js';
import { parseImportName } from './reference.js';
import type { Owner } from './temporary.js';

/** What {@link Upkeep} needs of the store. */
interface Shelf {
  resolve(reference: string, uid: number, gids: readonly number[]): Promise<ImageRecord>;
  openImage(record: ImageRecord): Promise<number>;
  list(uid: number, gids: readonly number[]): Promise<ImageRecord[]>;
}

export interface Removed {
  readonly image: ImageRecord;
  /** Why the image's file stays; undefined when it went too. */
  readonly keptFor?: string;
}

/** What users and administrators do with images that are there: naming, sharing, removing, checking, collecting. */
export class Upkeep {
  constructor(
    private readonly shelf: Shelf,
    private readonly layout: Layout,
    private readonly self: Owner,
  ) {}

  /**
   * Gives an image that the person may use another name.
   *
   * @throws BerthError BERTH_IMAGE_NAME, BERTH_IMAGE_UNKNOWN, BERTH_NOT_PERMITTED, BERTH_STORE_FULL, BERTH_STORE_UNUSABLE
   */
  async tag(reference: string, name: string, person: Person, scope: Scope): Promise<ImageRecord> {
    const parsed = parseImportName(name);
    const image = await this.shelf.resolve(reference, person.uid, person.gids);
    const lent =
      image.owner !== scope && person.uid !== 0 && (image.owner !== 'site' || image.access?.everyone === false);
    if (lent) {
      throw new BerthError('BERTH_NOT_PERMITTED', {
        what: `a name of your own for ${image.name}`,
        uid: person.uid,
        why: 'it is shared with some only, and its owner could not take it back from you',
        hint: `use it as ${reference}, or ask its owner for a name for everyone`,
      });
    }
    return this.#guard(tagImage(this.layout, this.self, { image, name: parsed, scope }));
  }

  /**
   * Says who else may use an image of one's own.
   *
   * @throws BerthError BERTH_IMAGE_NAME, BERTH_IMAGE_UNKNOWN, BERTH_NOT_PERMITTED, BERTH_STORE_FULL, BERTH_STORE_UNUSABLE
   */
  async share(reference: string, access: Access, person: Person): Promise<ImageRecord> {
    if (!isListOfIds(access.uids) || !isListOfIds(access.gids)) {
      throw new BerthError('BERTH_NOT_PERMITTED', {
        what: 'sharing with so many users or groups',
        uid: person.uid,
        why: 'an image keeps at most 1024 of each',
        hint: 'share it with a group that they are in',
      });
    }
    const names = await this.#own(reference, person);
    return this.#guard(shareImage(this.layout, this.self, names, access));
  }

  /**
   * Takes a name of one's own away, or, of a digest, all that the image has; and frees the image when nobody needs it. With
   * `force`, the person's own submitted jobs do not count, for root nobody's.
   *
   * @throws BerthError BERTH_IMAGE_NAME, BERTH_IMAGE_UNKNOWN, BERTH_NOT_PERMITTED, BERTH_STORE_UNUSABLE
   */
  async remove(
    reference: string,
    person: Person,
    options: Pick<CollectOptions, 'promiseDays' | 'mounted' | 'settling'> & { readonly force?: boolean },
  ): Promise<Removed> {
    const names = await this.#own(reference, person);
    const { image } = names;
    const removal = (async (): Promise<string | undefined> => {
      await removeNames(this.layout, names);
      if (options.force) await breakPromises(this.layout, image.digest, person.uid === 0 ? undefined : person.uid);
      return collectOne(this.layout, this.self, image.digest, options);
    })();
    const keptFor = await this.#guard(removal);
    return { image, ...(keptFor !== undefined && { keptFor }) };
  }

  /**
   * Under which names the person sees the same image.
   *
   * @throws BerthError BERTH_IMAGE_DAMAGED, BERTH_STORE_UNUSABLE
   */
  async namesOf({ digest }: ImageRecord, { uid, gids }: Person): Promise<string[]> {
    const all = await this.shelf.list(uid, gids);
    return [...new Set(all.filter((one) => one.digest === digest).map(({ name }) => name))];
  }

  /**
   * Reads the whole image file, in a process of its own.
   *
   * @returns what is wrong with it; undefined when it is what its digest says.
   */
  async faultOf(record: ImageRecord, signal: AbortSignal): Promise<string | undefined> {
    let file: number;
    try {
      file = await this.shelf.openImage(record);
    } catch (error) {
      if (error instanceof BerthError && error.code === 'BERTH_IMAGE_DAMAGED') return error.why;
      throw error;
    }
    try {
      const digest = await sha256Of(file, undefined, signal);
      return digest === record.digest ? undefined : `its content has the digest ${digest}`;
    } catch (error) {
      signal.throwIfAborted();
      return `it could not be read to its end: ${error instanceof Error ? error.message : String(error)}`;
    } finally {
      native.close(file);
    }
  }

  /**
   * Removes what nobody needs.
   *
   * @throws BerthError BERTH_IMAGE_DAMAGED for a name that cannot be read; BERTH_STORE_UNUSABLE
   */
  collect(options: CollectOptions): Promise<Collected[]> {
    return this.#guard(collect(this.layout, this.self, options));
  }

  #own(reference: string, person: Person): ReturnType<typeof ownNames> {
    const { uid, gids } = person;
    return this.#guard(ownNames(this.layout, reference, person, () => this.shelf.resolve(reference, uid, gids)));
  }

  async #guard<T>(work: Promise<T>): Promise<T> {
    try {
      return await work;
    } catch (error) {
      throw error instanceof BerthError ? error : storeFailure(this.layout.root, error);
    }
  }
}
