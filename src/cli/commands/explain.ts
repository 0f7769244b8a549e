import { v1 } from '../../protocol/index.js';
import { usage } from '../arguments.js';
import { ask } from '../client.js';
import { json, type Call, type Command } from '../command.js';
import { containerOptions, writtenOptions } from '../container-options.js';
import { definitionHere, optionsOf, withDefinition } from '../environment/merge.js';
import { jsonText, plain, table, type Terminal } from '../terminal.js';

export const explain: Command = {
  name: 'explain',
  summary: 'show what a container is made of, and who wants it so',
  synopsis: ['explain [OPTIONS] IMAGE', 'explain [OPTIONS] --environment=FILE|NAME [IMAGE]'],
  description: [
    "Takes srun's options for containers, and shows what a container of yours would be like on this node: what is mounted " +
      'where, which variables programs get besides those of the job, and who wants it so: Berth, the site, a module, the ' +
      'image or an option of yours. Nothing is started or mounted.',
    'Variables are changed in the order shown, on the environment that Slurm gives a program; the last word counts.',
  ],
  options: [
    {
      name: 'environment',
      value: 'FILE|NAME',
      description: 'Take the options of a container definition file, and its image where none is named.',
    },
    ...containerOptions,
    json,
  ],
  operands: ['[IMAGE]'],
  examples: [
    {
      command: 'berth explain --volume=/scratch/me:/data:ro --module=mpich ubuntu:24.04',
      text: 'Where does this LD_LIBRARY_PATH come from?',
    },
    { command: 'berth explain --environment=pytorch', text: 'What does this definition lead to?' },
  ],
  exitStatus: [{ status: 3, text: 'There is no such image.' }],
  run: async (call) => {
    const reply = await ask(call.socket, { explain: asked(call) });
    const view = viewOf(new v1.ExplainReply(reply.explain ?? {}));
    if (call.flag('json')) call.terminal.print(jsonText(view, 2));
    else show(view, call.terminal);
    return 0;
  },
};

/** The image and the options that the command line names, and its definition file. */
function asked(call: Call): { image: string; options: { name: string; value: string }[] } {
  const name = call.value('environment');
  const definition = name === undefined ? [] : optionsOf(definitionHere(name));
  const image = call.operands[0] ?? definition.find((option) => option.name === 'image')?.value;
  if (image === undefined) {
    const why = name === undefined ? 'IMAGE is missing' : `${name} names none`;
    throw usage('berth explain needs an image', why, 'explain');
  }
  const options = definition.filter((option) => option.name !== 'image');
  return { image, options: withDefinition(options, writtenOptions(call)) };
}

interface View {
  readonly image: string;
  readonly digest: string;
  readonly workdir: string;
  readonly mounts: readonly {
    readonly kind: string;
    readonly source: string;
    readonly destination: string;
    readonly flags: readonly string[];
    readonly origin: string;
  }[];
  readonly environment: readonly {
    readonly change: string;
    readonly name: string;
    readonly value: string;
    readonly origin: string;
  }[];
}

const { Kind } = v1.EnvironmentChange;
const CHANGES: Readonly<Record<number, string>> = {
  [Kind.KIND_SET]: 'set',
  [Kind.KIND_SET_IF_UNSET]: 'set-if-unset',
  [Kind.KIND_PREPEND]: 'prepend',
  [Kind.KIND_APPEND]: 'append',
  [Kind.KIND_UNSET]: 'unset',
};

function viewOf({ image, digest, workdir, mounts, environment }: v1.ExplainReply): View {
  return {
    image,
    digest,
    workdir,
    mounts: mounts.map((mount) => {
      const { kind, source, destination, flags, origin } = new v1.PlannedMount(mount);
      return { kind, source, destination, flags, origin };
    }),
    environment: environment.map((variable) => {
      const { kind, name, value } = new v1.EnvironmentChange(variable.change ?? {});
      return { change: CHANGES[kind] ?? '', name, value, origin: variable.origin ?? '' };
    }),
  };
}

function show({ image, digest, workdir, mounts, environment }: View, terminal: Terminal): void {
  terminal.print(`${terminal.bold('Image')}    ${plain(image)} ${terminal.dim(plain(digest))}`);
  terminal.print(`${terminal.bold('Starts')}   ${plain(workdir)}`);
  terminal.print('');
  const mountRows = mounts.map((mount) => [
    mount.destination,
    mount.kind,
    mount.source,
    mount.flags.join(','),
    mount.origin,
  ]);
  const mountColumns = ['MOUNTED AT', 'KIND', 'SOURCE', 'FLAGS', 'FROM'].map((title) => ({ title }));
  terminal.print(table(mountColumns, mountRows, terminal));
  if (environment.length === 0) return;
  terminal.print('');
  const rows = environment.map(({ name, change, value, origin }) => [name, change, value, origin]);
  const columns = ['VARIABLE', 'CHANGE', 'VALUE', 'FROM'].map((title) => ({ title }));
  terminal.print(table(columns, rows, terminal));
}
