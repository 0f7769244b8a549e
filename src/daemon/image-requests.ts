import { BerthError } from '../errors/index.js';
import type { Collected, ImageRecord } from '../image/index.js';
import { native } from '../native/index.js';
import type { Person } from '../policy/index.js';
import { encodeReply, frame, v1 } from '../protocol/index.js';
import type { Connection } from './connection.js';
import { imageMessage } from './image-message.js';
import type { ImageParts } from './images.js';
import { personOf } from './people.js';

const MIB = 1024 * 1024;

/** Images that a plain user may wait for to be read: they are read one after the other, for everybody. */
const MOST_VERIFIED = 2;

/** What berthd does for requests about images that are there: names, access, removal, checks, export, collection. */
export class ImageRequests {
  /** Whole images are read one after the other, and so is the store gone through. */
  readonly #reading = new Queue();
  readonly #collecting = new Queue();
  /** Connections that wait for an image to be read. */
  readonly #verifying = new Set<Connection>();

  constructor(private readonly parts: ImageParts) {}

  /** @returns undefined for a request of another kind. */
  handle(request: v1.Request, connection: Connection): Promise<void> | undefined {
    if (request.tag) return this.#tag(new v1.TagRequest(request.tag), connection);
    if (request.share) return this.#share(new v1.ShareRequest(request.share), connection);
    if (request.remove) return this.#remove(new v1.RemoveRequest(request.remove), connection);
    if (request.inspect) return this.#inspect(new v1.InspectRequest(request.inspect), connection);
    if (request.export) return this.#export(new v1.ExportRequest(request.export), connection);
    if (request.collect) return this.#collect(new v1.CollectRequest(request.collect), connection);
    return undefined;
  }

  async #tag({ reference, name }: v1.TagRequest, connection: Connection): Promise<void> {
    const { store, config } = this.parts;
    const person = await personOf(connection.peer.uid);
    if (person.uid !== 0 && config.store.import === 'root' && config.store.pull === 'root') {
      throw new BerthError('BERTH_NOT_PERMITTED', {
        what: 'giving images names',
        uid: person.uid,
        why: 'the site lets users neither pull nor import ([store] pull and import), so they have no names of their own',
        hint: 'ask the site to give the image the name',
      });
    }
    const image = await store.upkeep.tag(reference, name, person, person.uid === 0 ? 'site' : person.uid);
    this.#log(connection, image, 'image named');
    connection.reply({ tag: { image: await imageMessage(image, this.parts) } });
  }

  async #share(request: v1.ShareRequest, connection: Connection): Promise<void> {
    const person = await personOf(connection.peer.uid);
    const { everyone, uids, gids } = new v1.Access(request.access ?? {});
    const image = await this.parts.store.upkeep.share(request.reference, { everyone, uids, gids }, person);
    this.#log(connection, image, 'image shared');
    connection.reply({ share: { image: await imageMessage(image, this.parts) } });
  }

  async #remove({ reference, force }: v1.RemoveRequest, connection: Connection): Promise<void> {
    const person = await personOf(connection.peer.uid);
    connection.stayOpen();
    const { promiseDays } = this.parts.config.store;
    const removing = this.#collecting.run(() =>
      this.parts.store.upkeep.remove(reference, person, { promiseDays, mounted: this.#mounted(), force }),
    );
    const { image, keptFor = '' } = await removing;
    this.#log(connection, image, 'image removed');
    const freed = keptFor === '';
    connection.reply({ remove: { image: await imageMessage(image, this.parts), freed, keptFor } });
  }

  async #inspect({ reference, verify }: v1.InspectRequest, connection: Connection): Promise<void> {
    const { store } = this.parts;
    const person = await personOf(connection.peer.uid);
    const record = await store.resolve(reference, person.uid, person.gids);
    const reply = {
      image: await imageMessage(record, this.parts),
      names: await store.upkeep.namesOf(record, person),
      layers: [...(record.layers ?? [])],
      config: record.config === undefined ? '' : JSON.stringify(record.config),
    };
    if (!verify) {
      connection.reply({ inspect: reply });
      return;
    }
    this.#verify(record, connection, (fault) => {
      connection.reply({ inspect: { ...reply, sound: fault === undefined, fault: fault ?? '' } });
    });
  }

  /** Reads an image beside the connection's other requests, so that its end is noticed, which ends the reading. */
  #verify(record: ImageRecord, connection: Connection, answer: (fault: string | undefined) => void): void {
    if (this.#verifying.has(connection))
      throw new BerthError('BERTH_PROTOCOL_FRAME', { why: 'one image at a time is verified on a connection' });
    const { uid } = connection.peer;
    const own = [...this.#verifying].filter(({ peer }) => peer.uid === uid).length;
    if (uid !== 0 && own >= MOST_VERIFIED) {
      throw new BerthError('BERTH_NOT_PERMITTED', {
        what: `verifying more than ${MOST_VERIFIED} images at a time`,
        uid,
        why: 'images are read one after the other, and others wait too',
        hint: 'wait for your other images, or use berth verify --all, which takes one after the other',
      });
    }
    this.#verifying.add(connection);
    connection.stayOpen();
    const gone = new AbortController();
    void connection.closed.then(() => {
      gone.abort(new BerthError('BERTH_INTERNAL', { what: 'verifying an image', why: 'the client went away' }));
    });
    connection.run(async () => {
      try {
        answer(await this.#reading.run(() => this.parts.store.upkeep.faultOf(record, gone.signal)));
      } finally {
        this.#verifying.delete(connection);
      }
    });
  }

  async #export({ reference }: v1.ExportRequest, connection: Connection): Promise<void> {
    const { store } = this.parts;
    const person: Person = await personOf(connection.peer.uid);
    const record = await store.resolve(reference, person.uid, person.gids);
    const config = record.config === undefined ? '' : JSON.stringify(record.config);
    const reply = frame(encodeReply({ export: { image: await imageMessage(record, this.parts), config } }));
    const file = await store.openImage(record);
    try {
      connection.replyWithDescriptors(reply, [file]);
    } finally {
      native.close(file);
    }
    this.#log(connection, record, 'image exported');
  }

  async #collect({ dryRun, layerCacheLimit }: v1.CollectRequest, connection: Connection): Promise<void> {
    const { uid } = connection.peer;
    if (uid !== 0) {
      throw new BerthError('BERTH_NOT_PERMITTED', {
        what: "collecting the store's garbage",
        uid,
        why: "it goes over everybody's images, so only root may",
        hint: 'berth rmi NAME removes an image of your own, and frees it when nobody else needs it',
      });
    }
    connection.stayOpen();
    const { promiseDays, layerCache } = this.parts.config.store;
    const limit = (layerCacheLimit > 0 ? layerCacheLimit : layerCache) * MIB;
    const entries = await this.#collecting.run(() =>
      this.parts.store.upkeep.collect({ dryRun, promiseDays, layerCache: limit, mounted: this.#mounted() }),
    );
    const freed = entries.filter(({ keptFor }) => keptFor === undefined);
    if (!dryRun) this.parts.requests.event(connection, { removed: freed.length, bytes: sum(freed) }, 'store collected');
    connection.reply({ collect: { entries: entries.map(collectedMessage) } });
  }

  /** Digests of the images that containers on this node have mounted. */
  #mounted(): ReadonlySet<string> {
    return new Set(this.parts.registry.all().map(({ digest }) => digest));
  }

  #log(connection: Connection, { name, digest }: ImageRecord, message: string): void {
    this.parts.requests.event(connection, { image: name, digest }, message);
  }
}

/** Does one thing after the other. */
class Queue {
  #last: Promise<unknown> = Promise.resolve();

  run<T>(work: () => Promise<T>): Promise<T> {
    const turn = this.#last.then(work);
    this.#last = turn.catch(() => undefined);
    return turn;
  }
}

function sum(entries: readonly Collected[]): number {
  return entries.reduce((total, { size }) => total + size, 0);
}

function collectedMessage({ what, name, size, keptFor = '' }: Collected): v1.Collected.$Properties {
  return { what, name, size: String(size), keptFor };
}
