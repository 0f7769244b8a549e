/** The command line's help texts. */

export const generalHelp = `A private Slurm cluster of many nodes on this machine, for tests and for trying Berth.

Usage: npm run cluster -- COMMAND --dir DIR [OPTION...]

Commands:
  up       start a cluster in a directory
  exec     run a command in a host of the cluster
  daemon   start, stop or kill berthd on a host
  status   show daemons and nodes
  down     remove a cluster without leaving anything

The hosts are login, where users log in and slurmctld runs, and the nodes n1, n2, ... Each has its own host name,
/tmp, /dev/shm and /run/berth. The users are root, alice, bob and carol (who has no subordinate ids); they share /home.
Only root can run this. Everything listens on the loopback interface only.

Example:
  npm run cluster -- up --dir /tmp/cluster --nodes 2
  npm run cluster -- exec --dir /tmp/cluster login --user alice -- srun -N2 hostname
  npm run cluster -- down --dir /tmp/cluster

"npm run cluster -- COMMAND --help" tells more.
`;

export const commandHelp = {
  up: `Start a cluster; returns when all nodes are idle and every berthd accepts connections.

Usage: npm run cluster -- up --dir DIR --nodes N [OPTION...]

  --dir DIR                 directory of the cluster: absent or empty. Its files are owned by root
  --nodes N                 number of compute nodes, 1 to 1000
  --berth-config FILE       /etc/berth/berth.toml of all hosts (default: empty)
  --slurm-conf FILE         lines to append to slurm.conf; a parameter given there replaces the cluster's own
  --slurm-file FILE         a further file of /etc/slurm, such as job_container.conf; may be repeated
  --plugstack-args "K=V..." arguments of the Berth plugin in plugstack.conf
  --no-berth                bare Slurm: neither plugin nor berthd
  --no-daemon HOST,HOST     hosts on which berthd is not started
  --json                    describe the cluster as JSON on stdout

Examples:
  npm run cluster -- up --dir /tmp/cluster --nodes 2
  npm run cluster -- up --dir /tmp/bare --nodes 64 --no-berth
  npm run cluster -- up --dir /tmp/cluster --nodes 2 --berth-config site.toml --plugstack-args "timeout=10"

After an interruption nothing is left. After a crash, "down" removes what is left.
`,
  exec: `Run a command in a host. Input, output, terminal and signals are the command's own; so is the exit status
(128 + N after signal N, 125 when the command could not be run).

Usage: npm run cluster -- exec --dir DIR HOST [--user NAME] [--env NAME=VALUE] -- COMMAND [ARGUMENT...]

  --dir DIR          directory of the cluster
  --user NAME        root (default), alice, bob or carol; with all of their groups, in their home directory
  --env NAME=VALUE   a variable for the command, whose environment is otherwise clean but for TERM; may be repeated

Examples:
  npm run cluster -- exec --dir /tmp/cluster login --user alice -- srun -N2 hostname
  npm run cluster -- exec --dir /tmp/cluster login --user alice -- srun --pty bash
  npm run cluster -- exec --dir /tmp/cluster n1 -- cat /etc/slurm/slurm.conf
`,
  daemon: `Control berthd on one host.

Usage: npm run cluster -- daemon --dir DIR HOST start|stop|kill|status [--config FILE] [--env NAME=VALUE]

  start    start it, and wait until it accepts connections
  stop     end it with SIGTERM, and wait for its end
  kill     end it with SIGKILL
  status   tell whether it runs: exit status 0 when it does, 3 when not

  --config FILE      start: what this host alone sees as /etc/berth/berth.toml
  --env NAME=VALUE   start: a variable for berthd besides PATH and SLURM_CONF; may be repeated

Examples:
  npm run cluster -- daemon --dir /tmp/cluster n1 kill
  npm run cluster -- daemon --dir /tmp/cluster n1 start --config debug.toml
`,
  status: `Show which daemons run and what Slurm says about the nodes.

Usage: npm run cluster -- status --dir DIR [--json]

Exit status 0 when all is well, 3 otherwise.

Example:
  npm run cluster -- status --dir /tmp/cluster --json
`,
  down: `Remove a cluster: its processes, mounts, namespaces, loop devices and files. It is no error when there is nothing
to remove; a cluster that never came up completely is removed as well.

Usage: npm run cluster -- down --dir DIR

Example:
  npm run cluster -- down --dir /tmp/cluster
`,
} as const;

export type CommandName = keyof typeof commandHelp;
