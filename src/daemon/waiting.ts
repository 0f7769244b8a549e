import type { Waiter } from '../launch/index.js';
import type { Connection } from './connection.js';

/** Longest progress that C takes, in bytes: proto/berth.options. */
const MOST_TOLD = 255;

/** Whoever waits at the other end of a connection, and is told how it is going. */
export function waiterAt(connection: Connection): Waiter {
  const tell = (text: string): void => {
    connection.reply({ launchProgress: { text: text.replace(/[^ -~]/g, '?').slice(0, MOST_TOLD) } });
  };
  return { gone: connection.closed, tell };
}
