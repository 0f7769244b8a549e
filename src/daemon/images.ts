import type { Config } from '../config/index.js';
import type { Registry } from '../container/index.js';
import { BerthError, reasonOf } from '../errors/index.js';
import { pinnedReference, sharedName, type ImageStore } from '../image/index.js';
import type { Designer } from '../launch/index.js';
import { askedFor, writtenOption } from '../options/index.js';
import { importScope, type Person } from '../policy/index.js';
import type { v1 } from '../protocol/index.js';
import type { Connection } from './connection.js';
import { imageMessage } from './image-message.js';
import type { ImportSessions } from './imports.js';
import { onBehalf, personOf, userName } from './people.js';
import { takePipe } from './pipes.js';
import type { RequestLog } from './report.js';
import { Slots } from './slots.js';

/** What requests about images need. */
export interface ImageParts {
  readonly config: Config;
  readonly registry: Registry;
  readonly store: ImageStore;
  readonly designer: Designer;
  readonly imports: ImportSessions;
  readonly requests: RequestLog;
}

/** What berthd does for requests about images: naming, listing, importing. */
export class ImageHandlers {
  /** For each user who has images listed: one list at a time, which may be long. */
  readonly #listing = new Map<number, { readonly slots: Slots; count: number }>();

  constructor(private readonly parts: ImageParts) {}

  /**
   * @throws BerthError BERTH_IMAGE_NAME, BERTH_IMAGE_UNKNOWN, BERTH_IMAGE_DAMAGED, BERTH_STORE_UNUSABLE,
   * BERTH_STORE_FULL, BERTH_NOT_PERMITTED; what options that make no sense stand for.
   */
  async resolve(request: v1.ResolveRequest, connection: Connection): Promise<void> {
    const { store } = this.parts;
    const { uid, gids } = await personOf(onBehalf(connection.peer, request.uid));
    const asked = askedFor(request.options.map(writtenOption));
    if (request.options.length > 0) await this.parts.designer.check({ uid, gid: gids[0] ?? 0, gids }, asked);
    if (request.reference === '') {
      connection.reply({ resolve: {} });
      return;
    }
    const record = await store.resolve(request.reference, uid, gids, await userName(uid));
    if (request.promise) await store.promise(record.digest, uid);
    const image = await imageMessage(record, this.parts);
    connection.reply({ resolve: { image, pinned: pinnedReference(request.reference, record) } });
  }

  /** @throws BerthError BERTH_IMAGE_DAMAGED, BERTH_STORE_UNUSABLE */
  async list(connection: Connection): Promise<void> {
    const { uid } = connection.peer;
    const listing = this.#listing.get(uid) ?? { slots: new Slots(1), count: 0 };
    this.#listing.set(uid, listing);
    listing.count++;
    const gone = new AbortController();
    void connection.closed.then(() => {
      gone.abort();
    });
    try {
      const release = await listing.slots.take(gone.signal).catch(() => undefined);
      // Nobody waits for it any more.
      if (!release) return;
      try {
        connection.reply({ images: { images: await this.#images(await personOf(uid)) } });
      } finally {
        release();
      }
    } finally {
      if (--listing.count === 0) this.#listing.delete(uid);
    }
  }

  async #images(person: Person): Promise<v1.Image.$Properties[]> {
    const records = await this.parts.store.list(person.uid, person.gids);
    const named = await Promise.all(records.map((record) => imageMessage(record, this.parts)));
    return [...named, ...(await this.#shared(person))];
  }

  /** What others share with this person, as they would name it: an owner without an account cannot be named. */
  async #shared({ uid, gids }: Person): Promise<v1.Image.$Properties[]> {
    const records = await this.parts.store.listShared(uid, gids);
    const messages = await Promise.all(
      records.map(async (record) => {
        const message = await imageMessage(record, this.parts);
        const name = sharedName(message.owner ?? '', record.name);
        return name === undefined ? [] : [{ ...message, name }];
      }),
    );
    return messages.flat().toSorted((a, b) => (a.name < b.name ? -1 : 1));
  }

  /** @throws BerthError BERTH_NOT_PERMITTED, BERTH_PROTOCOL_FRAME, BERTH_IMPORT_SOURCE */
  import(request: v1.ImportRequest, connection: Connection): void {
    const owner = importScope(connection.peer, this.parts.config.store.import);
    connection.stayOpen();
    const complete = this.parts.imports.begin(connection);
    const archive = takeArchive(connection, request.sourceFd);
    const { name, source } = request;
    connection.run(async () => {
      const image = await this.parts.store.importTar({ name, owner, source, complete }, archive);
      this.parts.requests.event(connection, { image: image.name, digest: image.digest }, 'image imported');
      connection.reply({ import: { image: await imageMessage(image, this.parts) } });
    });
  }
}

/** @throws BerthError BERTH_IMPORT_SOURCE */
function takeArchive(connection: Connection, sourceFd: number): number {
  try {
    return takePipe(connection, sourceFd);
  } catch (cause) {
    throw new BerthError('BERTH_IMPORT_SOURCE', { source: 'the archive', why: reasonOf(cause) }, { cause });
  }
}
