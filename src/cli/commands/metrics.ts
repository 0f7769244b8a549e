import type { Command } from '../command.js';
import { askForText } from '../node/ask.js';

export const metrics: Command = {
  name: 'metrics',
  summary: "show this node's metrics, for Prometheus",
  synopsis: ['metrics'],
  description: [
    "Writes what berthd's /metrics answers, in Prometheus' text format: launches by outcome, their phases, containers, ranks, the " +
      "store, pulls, health, and berthd's own cost. For node_exporter's textfile collector, where Prometheus is not to ask " +
      'berthd itself (docs/events.md). The results of health checks are of the last time that somebody asked; asking has them ' +
      'looked at anew when they are older than five minutes, for the next time.',
  ],
  options: [],
  operands: [],
  examples: [
    {
      command: 'berth metrics > berth.new && mv berth.new berth.prom',
      text: "From a timer, in the directory of node_exporter's textfile collector.",
    },
  ],
  run: async ({ socket, terminal }) => {
    terminal.print((await askForText(socket, '/metrics')).trimEnd());
    return 0;
  },
};
