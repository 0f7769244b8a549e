import type { v1 } from '../../protocol/index.js';
import { ask } from '../client.js';
import { json, type Command } from '../command.js';
import { age, jsonText, table, type Terminal } from '../terminal.js';
import { timeline } from '../timeline.js';

export const ps: Command = {
  name: 'ps',
  summary: 'list the containers on this node',
  synopsis: ['ps [--timeline] [--json]'],
  description: [
    'Lists your containers on this node: one for each of your jobs and images, and those of berth run, which have no job. ' +
      'RANKS is how many ranks are inside now, or how many runs a container without a job lasts for. ' +
      'How many containers other users have is told below the list; root sees them all.',
  ],
  options: [
    {
      name: 'timeline',
      description:
        "Show for each launch what its start was made of, in milliseconds: the phases on berthd's side, and how long the " +
        'ranks waited for the container and took to enter it (least, median, most).',
    },
    json,
  ],
  operands: [],
  examples: [
    { command: 'berth ps', text: 'What runs here.' },
    {
      command: 'srun --overlap --jobid=4711 berth ps --timeline',
      text: 'Where the start of job 4711 spent its time, on each of its nodes.',
    },
  ],
  run: async ({ flag, socket, terminal }) => {
    const withTimeline = flag('timeline');
    const { list } = await ask(socket, { list: { timeline: withTimeline } });
    const containers = (list?.containers ?? []).map(containerView);
    const others = list?.others ?? 0;
    if (flag('json')) {
      terminal.print(jsonText({ node: list?.nodeName ?? '', containers, others }, 2));
      return 0;
    }
    terminal.print(containerTable(containers, terminal));
    if (withTimeline)
      containers.forEach((container) => {
        printTimeline(container, terminal);
      });
    if (others > 0) terminal.print(terminal.dim(`and ${others} of other users`));
    return 0;
  },
};

type ContainerView = ReturnType<typeof containerView>;

function containerTable(containers: readonly ContainerView[], terminal: Terminal): string {
  const now = Date.now() / 1000;
  const named = containers.some(({ name }) => name !== '');
  const columns = [
    { title: 'CONTAINER' },
    { title: 'JOB', right: true },
    ...(named ? [{ title: 'NAME' }] : []),
    { title: 'USER' },
    { title: 'IMAGE' },
    { title: 'RANKS', right: true },
    { title: 'AGE', right: true },
  ];
  const rows = containers.map(({ id, job, name, user, image, ranks, created }) => [
    id.slice(0, 12),
    job === 0 ? '-' : String(job),
    ...(named ? [name === '' ? '-' : name] : []),
    user,
    image,
    String(ranks),
    age(now - created),
  ]);
  return table(columns, rows, terminal);
}

function printTimeline(container: ContainerView, terminal: Terminal): void {
  const { id, job } = container;
  for (const launch of container.launches)
    terminal.print(`\n${timeline({ id: id.slice(0, 12), job }, launch, terminal)}`);
}

/** A container as --json shows it. */
function containerView(container: v1.Container.$Properties) {
  return {
    id: container.id ?? '',
    job: container.jobId ?? 0,
    name: container.name ?? '',
    uid: container.uid ?? 0,
    user: container.user ?? '',
    image: container.image ?? '',
    digest: container.digest ?? '',
    created: container.created ?? 0,
    ranks: container.ranks ?? 0,
    userNamespace: container.userNamespace ?? false,
    launches: (container.launches ?? []).map(launchView),
  };
}

/** A launch as --json shows it; times within it are microseconds. */
function launchView(launch: v1.Launch.$Properties) {
  return {
    step: launch.stepId ?? 0,
    started: launch.started ?? 0,
    cold: launch.cold ?? false,
    phases: (launch.phases ?? []).map(({ name, startUs, durationUs }) => ({
      name: name ?? '',
      startUs: startUs ?? 0,
      durationUs: durationUs ?? 0,
    })),
    ranks: (launch.ranks ?? []).map(({ rank, waitUs, joinUs }) => ({
      rank: rank ?? 0,
      waitUs: waitUs ?? 0,
      joinUs: joinUs ?? 0,
    })),
  };
}
