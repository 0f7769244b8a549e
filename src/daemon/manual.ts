import type { ManualPage } from '../manual/index.js';

/** berthd(8), and what `berthd --help` shows. */
export const daemonManual: ManualPage = {
  name: 'berthd',
  summary: "the daemon of Berth: builds the containers of this node's jobs",
  synopsis: ['node berthd.js [--config FILE]'],
  sections: [
    {
      title: 'DESCRIPTION',
      entries: [
        'One runs on each node, as root, started by systemd (berthd.service). Slurm asks it for containers through the plugin ' +
          'spank_berth.so, people through berth. It is off the data path: containers are pinned namespaces without a process, ' +
          'their programs are children of Slurm.',
        'It may be stopped, killed or upgraded at any time. What runs goes on and belongs to the next berthd; launches wait for ' +
          'that one for some seconds. It has to run in the mount namespace of the node, so that its pins can be seen there.',
        'It writes its log to standard error, a JSON object for each line.',
      ],
    },
    {
      title: 'OPTIONS',
      entries: [
        { term: '--config FILE', text: 'Read this configuration instead of /etc/berth/berth.toml.' },
        { term: '--version', text: 'Print the version.' },
        { term: '--help', text: 'Show this help.' },
      ],
    },
    {
      title: 'SIGNALS',
      entries: [{ term: 'SIGTERM, SIGINT', text: 'End. Containers and the programs in them are not touched.' }],
    },
    {
      title: 'EXIT STATUS',
      entries: [
        { term: '0', text: 'After SIGTERM or SIGINT.' },
        { term: '2', text: 'The configuration cannot be read, or is wrong.' },
        { term: '5', text: 'Another berthd has the runtime directory.' },
        'Any other is that of the error which it names (docs/errors.md).',
      ],
      beside: 4,
    },
    {
      title: 'ENVIRONMENT',
      entries: [
        {
          term: 'NOTIFY_SOCKET, LISTEN_PID, LISTEN_FDS',
          text: 'Set by systemd: where to tell that it is ready (Type=notify), and that it gets its socket (berthd.socket).',
        },
        {
          term: 'http_proxy, https_proxy, no_proxy, ALL_PROXY',
          text: 'Are given to the pulls that it starts at launches.',
        },
        { term: 'SLURM_CONF', text: "Slurm's configuration, where it is not in a usual place." },
      ],
    },
  ],
};
