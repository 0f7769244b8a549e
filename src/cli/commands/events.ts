import { hostname } from 'node:os';
import { BerthError } from '../../errors/index.js';
import { readCursor } from '../../events/index.js';
import { json, type Command } from '../command.js';
import { untilInterrupted } from '../interrupt.js';
import { followEvents } from '../node/follow.js';
import { EventStream, type Message } from '../node/stream.js';
import { eventLine } from '../node/words.js';
import { plainJson, type Terminal } from '../terminal.js';

export const events: Command = {
  name: 'events',
  summary: 'show what happens on this node: launches, containers, pulls, health',
  synopsis: ['events [--since CURSOR] [--follow] [--json]'],
  description: [
    'Shows the events that berthd on this node remembers, the last two thousand or so, oldest first; with --follow, what happens ' +
      'from now on. You see your own launches, containers and pulls, and how many others there were; root sees all. ' +
      'docs/events.md has what each event says.',
  ],
  options: [
    {
      name: 'since',
      letter: 's',
      value: 'CURSOR',
      description:
        'Begin after the event with this cursor; or "oldest", or "now". What was forgotten since shows as a gap.',
    },
    { name: 'follow', letter: 'f', description: 'Go on until interrupted, also over a restart of berthd.' },
    { ...json, description: 'Write each event as a line of JSON.' },
  ],
  operands: [],
  examples: [
    { command: 'berth events --follow', text: 'What happens here.' },
    {
      command: 'berth events --json | jq "select(.type == \\"launch\\" and .start == \\"cold\\") | .totalUs"',
      text: 'How long builds of containers took, in microseconds.',
    },
  ],
  run: async ({ flag, value, socket, terminal }) => {
    const follow = flag('follow');
    const since = value('since') ?? (follow ? 'now' : 'oldest');
    if (since !== 'now' && since !== 'oldest' && !readCursor(since))
      throw new BerthError('BERTH_EVENTS_CURSOR', { cursor: since });
    const tell = (message: Message, text: string): void => {
      if (flag('json')) terminal.print(plainJson(text));
      else if (message.type !== 'hello') terminal.print(eventLine(message));
    };
    if (!follow) return show(socket, since, tell);
    return follows(socket, since, terminal, tell);
  },
};

type Tell = (message: Message, text: string) => void;

/** What there is now. */
async function show(socket: string, since: string, tell: Tell): Promise<number> {
  const stream = await EventStream.open(socket, since);
  try {
    let newest: number | undefined;
    for (;;) {
      const next = await stream.next();
      if ('code' in next)
        throw new BerthError('BERTH_EVENTS_ENDED', { host: hostname(), why: next.reason || 'it went away' });
      tell(next.message, next.text);
      if (next.message.type === 'hello') newest = readCursor(next.message.newest)?.sequence;
      const at = readCursor(next.message.cursor)?.sequence ?? 0;
      if (newest === undefined || at >= newest) return 0;
    }
  } finally {
    stream.close();
  }
}

/** What comes. Ending it is how it is meant to end. */
async function follows(socket: string, since: string, terminal: Terminal, tell: Tell): Promise<number> {
  return untilInterrupted(terminal, async (signal) => {
    await followEvents(socket, since, terminal, signal, tell);
    return 0;
  });
}
