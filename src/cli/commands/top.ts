import type { Command } from '../command.js';
import { followEvents } from '../node/follow.js';
import { nodeOverview } from '../node/overview.js';
import { RATE_SPAN, Recent } from '../node/recent.js';
import { Redraw } from '../node/redraw.js';
import { Screen } from '../node/screen.js';
import { askForState } from '../node/state.js';
import { EventStream } from '../node/stream.js';
import { readCursor, type NodeState } from '../../events/index.js';
import type { Terminal } from '../terminal.js';

/** Milliseconds between two questions for what is on the node: berthd looks at all its processes for it. */
const STATE_INTERVAL = 2_000;

/** Where nobody watches, the picture has this size. */
const PAPER = { width: 120, height: 60 } as const;

export const top: Command = {
  name: 'top',
  summary: 'watch this node: containers, ranks, launches, pulls',
  synopsis: ['top'],
  description: [
    'Shows what is on this node and what happens there: your containers and the ranks in them, launches in a second and what they ' +
      'were made of (of the last two hundred, medians and most, in milliseconds), pulls, and the last events. You see what is ' +
      "yours, and how much there is of others'; root sees all.",
    'It is drawn anew when something happens, at most four times a second. q or Ctrl-C ends it. Without a terminal it is written ' +
      'once.',
  ],
  options: [],
  operands: [],
  examples: [
    { command: 'berth top', text: 'What happens here.' },
    { command: 'srun --overlap --jobid=4711 berth top', text: 'How job 4711 is doing on each of its nodes, once.' },
  ],
  run: async ({ socket, terminal }) => {
    const { stdin, stdout } = process;
    if (stdout.isTTY && stdin.isTTY && process.env['TERM'] !== 'dumb')
      return watch(socket, terminal, new Screen(stdin, stdout));
    const recent = new Recent();
    await readKept(socket, recent);
    const lines = nodeOverview(await askForState(socket), recent, terminal, Date.now() / 1000, PAPER);
    terminal.print(lines.join('\n').trimEnd());
    return 0;
  },
};

/** What berthd remembers. */
async function readKept(socket: string, recent: Recent): Promise<void> {
  const stream = await EventStream.open(socket, 'oldest');
  let newest = 0;
  try {
    for (;;) {
      const next = await stream.next();
      if ('code' in next) return;
      const { message } = next;
      recent.add(message);
      if (message.type === 'hello') newest = readCursor(message.newest)?.sequence ?? 0;
      if ((readCursor(message.cursor)?.sequence ?? 0) >= newest) return;
    }
  } finally {
    stream.close();
  }
}

async function watch(socket: string, terminal: Terminal, screen: Screen): Promise<number> {
  const recent = new Recent();
  const leaving = new AbortController();
  let changed = Number.NEGATIVE_INFINITY;
  let asked = Number.NEGATIVE_INFINITY;
  let state: NodeState | undefined;
  const redraw = new Redraw(async () => {
    if (performance.now() - asked > STATE_INTERVAL) {
      asked = performance.now();
      // While berthd is restarted, the last picture stays.
      state = await askForState(socket).catch(() => state);
    }
    if (state) screen.draw(nodeOverview(state, recent, terminal, Date.now() / 1000, screen.size));
    // Rates go down, and ranks end, without an event.
    if (performance.now() - changed < RATE_SPAN * 1000) redraw.in(1000);
  });
  try {
    state = await askForState(socket);
    screen.begin(() => {
      redraw.soon();
    });
    redraw.soon();
    const silent = { ...terminal, warn: () => undefined };
    const following = followEvents(socket, 'oldest', silent, leaving.signal, (message) => {
      recent.add(message);
      changed = performance.now();
      redraw.soon();
    });
    await Promise.race([screen.quit, following]);
    return 0;
  } finally {
    leaving.abort();
    redraw.stop();
    screen.close();
  }
}
