import { requirePulling } from '../policy/index.js';
import { BerthError } from '../errors/index.js';
import type { v1 } from '../protocol/index.js';
import type { Connection } from './connection.js';
import { PullSession, type PullParts } from './pull-session.js';
import { Slots } from './slots.js';

/** Pulls of one plain user that may receive blobs at a time; those that wait for somebody else's are not counted. */
const MOST_PER_USER = 4;

/** Documents that one plain user's pulls may be reading at a time, each of up to 4 MiB. */
const MOST_READING = 4;

/** Pulls under way: one on a connection, at most. */
export class PullSessions {
  readonly #sessions = new Map<Connection, PullSession>();
  /** A client that hears late of its pull's end may still be sending. */
  readonly #ended = new WeakSet<Connection>();
  readonly #reading = new Map<number, Slots>();

  constructor(private readonly parts: PullParts) {}

  /** @throws BerthError BERTH_NOT_PERMITTED, BERTH_PROTOCOL_FRAME, BERTH_IMAGE_NAME, BERTH_PULL_FAILED */
  begin(request: v1.PullRequest, connection: Connection): void {
    requirePulling(connection.peer, this.parts.config.store.pull);
    if (this.#sessions.has(connection)) throw outOfStep('one pull at a time on a connection');
    connection.stayOpen();
    const { uid } = connection.peer;
    const reading = this.#reading.get(uid) ?? new Slots(MOST_READING);
    this.#reading.set(uid, reading);
    const session = new PullSession(this.parts, connection, request, {
      reading,
      checkCount: () => this.#checkCount(uid),
      holderOf: (manifest) => [...this.#sessions.values()].find((one) => one.holdsLeaseOf(manifest)),
    });
    this.#sessions.set(connection, session);
    connection.run(async () => {
      try {
        await session.run();
      } finally {
        this.#sessions.delete(connection);
        this.#ended.add(connection);
        if (![...this.#sessions.keys()].some(({ peer }) => peer.uid === uid)) this.#reading.delete(uid);
      }
    });
  }

  /** @throws BerthError BERTH_PROTOCOL_FRAME */
  blob(message: v1.PullBlob, connection: Connection): void {
    this.#of(connection)?.blob(message);
  }

  /** @throws BerthError BERTH_PROTOCOL_FRAME */
  blobEnd(message: v1.BlobEnd, connection: Connection): void {
    this.#of(connection)?.blobEnd(message);
  }

  /** @throws BerthError BERTH_PROTOCOL_FRAME */
  progress(message: v1.PullProgress, connection: Connection): void {
    this.#of(connection)?.progress(message);
  }

  #of(connection: Connection): PullSession | undefined {
    const session = this.#sessions.get(connection);
    if (!session && !this.#ended.has(connection)) throw outOfStep('a connection that pulls nothing sends blobs');
    return session;
  }

  #checkCount(uid: number): void {
    const own = [...this.#sessions].filter(([{ peer }, session]) => peer.uid === uid && session.receives).length;
    if (uid === 0 || own < MOST_PER_USER) return;
    throw new BerthError('BERTH_NOT_PERMITTED', {
      what: `more than ${MOST_PER_USER} pulls at a time`,
      uid,
      why: 'each takes processors and memory of this node',
      hint: 'wait for your other pulls to finish',
    });
  }
}

function outOfStep(why: string): BerthError {
  return new BerthError('BERTH_PROTOCOL_FRAME', { why });
}
