import type { Command } from '../command.js';
import { askForDocument } from '../node/ask.js';

export const token: Command = {
  name: 'token',
  summary: "get a token of your own for this node's page",
  synopsis: ['token'],
  description: [
    "Writes a token with which the node's page ([events] listen) shows what is yours, for 12 hours. Whoever has it sees the same: keep " +
      'it to yourself. The page asks for it, and forgets it when its window is closed.',
  ],
  options: [],
  operands: [],
  examples: [{ command: 'berth token', text: 'To be pasted into the page.' }],
  run: async ({ socket, terminal }) => {
    const answer = await askForDocument(socket, '/v1/token');
    const issued = typeof answer === 'object' && answer !== null && 'token' in answer ? answer.token : undefined;
    terminal.print(String(issued));
    return 0;
  },
};
