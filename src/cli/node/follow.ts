import { setTimeout as sleep } from 'node:timers/promises';
import type { Terminal } from '../terminal.js';
import { EventStream, type Message, type StreamEnd } from './stream.js';

/** How long, in milliseconds, until a berthd that went away is tried again: at first, and at most. */
const FIRST_WAIT = 250;
const LONGEST_WAIT = 5_000;

/**
 * Reads the stream until it is interrupted, also over berthd's end: it may be upgraded at any time, and the cursor says where
 * to go on.
 *
 * @param tell gets each message, with its text.
 * @throws BerthError BERTH_DAEMON_UNREACHABLE when berthd is not there to begin with; RemoteError what it says.
 */
export async function followEvents(
  socket: string,
  since: string,
  terminal: Terminal,
  signal: AbortSignal,
  tell: (message: Message, text: string) => void,
): Promise<void> {
  let from = since;
  let stream: EventStream | undefined = await EventStream.open(socket, from);
  while (stream) {
    const end = await readToEnd(stream, signal, (message, text) => {
      from = message.cursor;
      tell(message, text);
    });
    if (signal.aborted) return;
    terminal.warn(`berth: the event stream ended: ${end.reason || 'berthd went away'}; going on when it is there`);
    stream = await reopen(socket, from, signal);
  }
}

async function readToEnd(
  stream: EventStream,
  signal: AbortSignal,
  tell: (message: Message, text: string) => void,
): Promise<StreamEnd> {
  const stop = (): void => {
    stream.close();
  };
  signal.addEventListener('abort', stop);
  try {
    for (;;) {
      const next = await stream.next();
      if ('code' in next) return next;
      tell(next.message, next.text);
    }
  } finally {
    signal.removeEventListener('abort', stop);
    stream.close();
  }
}

/** Undefined when it was interrupted. */
async function reopen(socket: string, from: string, signal: AbortSignal): Promise<EventStream | undefined> {
  for (let wait = FIRST_WAIT; !signal.aborted; wait = Math.min(2 * wait, LONGEST_WAIT)) {
    const stream = await EventStream.open(socket, from).catch(() => undefined);
    if (stream) return stream;
    await sleep(wait, undefined, { signal }).catch(() => undefined);
  }
  return undefined;
}
