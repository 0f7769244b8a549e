import type { Logger } from 'pino';
import { BerthError, type ErrorMessage } from '../errors/index.js';
import type { v1 } from '../protocol/index.js';
import type { Connection } from './connection.js';

/** Entries that one plain user's requests may add to the log in a minute. */
const MOST_PER_MINUTE = 30;

/** How many of each user's entries the present minute has. Nothing ticks: the minute is looked at when there is one more. */
class Allowance {
  readonly #counts = new Map<number, number>();
  #minute = 0;

  /** 'yes'; 'last' for the one after which there is silence; 'no'. */
  take(uid: number): 'yes' | 'last' | 'no' {
    const minute = Math.floor(performance.now() / 60_000);
    if (minute !== this.#minute) this.#counts.clear();
    this.#minute = minute;
    const count = (this.#counts.get(uid) ?? 0) + 1;
    this.#counts.set(uid, count);
    if (uid === 0 || count < MOST_PER_MINUTE) return 'yes';
    return count === MOST_PER_MINUTE ? 'last' : 'no';
  }
}

/** Writes the log's entries about requests. A plain user cannot fill the log with them. */
export class RequestLog {
  readonly #allowance = new Allowance();

  constructor(private readonly log: Logger) {}

  /** A request that failed. Administrators find the user's code here, with job, step and uid. */
  failure(error: ErrorMessage, connection: Connection, request: v1.Request | undefined): void {
    const { uid } = connection.peer;
    const about = request?.launch
      ? { job: request.launch.jobId, step: request.launch.stepId, uid: request.launch.uid, image: request.launch.image }
      : { uid };
    const fields = { code: error.code, ...about, why: error.why, stack: internalStack(error) };
    const level = error.exitStatus === 1 ? 'error' : 'warn';
    this.#write(uid, level, fields, error.what);
  }

  /** Something a client did that an administrator may want to know. */
  event(connection: Connection, fields: object, message: string): void {
    this.#write(connection.peer.uid, 'info', { uid: connection.peer.uid, ...fields }, message);
  }

  #write(uid: number, level: 'error' | 'warn' | 'info', fields: object, message: string): void {
    const allowed = this.#allowance.take(uid);
    if (allowed === 'no') return;
    this.log[level](fields, message);
    if (allowed === 'last') this.log.warn({ uid }, 'more entries about this user are left out for a minute');
  }
}

/** Where an unexpected failure came from, for the log alone. */
function internalStack(error: ErrorMessage): string | undefined {
  if (!(error instanceof BerthError) || error.code !== 'BERTH_INTERNAL') return undefined;
  return error.cause instanceof Error ? error.cause.stack : undefined;
}
