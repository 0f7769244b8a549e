import { absolutePath, choice } from '../kinds.js';

/** [daemon] of berth.toml. */
export const daemon = {
  runtime_directory: absolutePath({
    default: '/run/berth',
    description:
      'Where berthd keeps its socket (`berthd.sock`) and the pins of its containers. It must be on the node itself ' +
      '(a tmpfs such as `/run`), and its parent must be writable by root alone. The plugin and the command line look ' +
      'for the socket under the default path unless they are told otherwise.',
  }),
  log_level: choice(['trace', 'debug', 'info', 'warn', 'error'], {
    default: 'info',
    description:
      'The least severe entries berthd logs. `info` has one entry for each container built and each failure; `debug` ' +
      'adds one for each launch.',
  }),
} as const;
