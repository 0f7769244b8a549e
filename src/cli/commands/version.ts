import { BerthError } from '../../errors/index.js';
import { PROTOCOL, version } from '../../protocol/index.js';
import { ask } from '../client.js';
import { json, type Command } from '../command.js';
import { jsonText } from '../terminal.js';

export const versionCommand: Command = {
  name: 'version',
  summary: 'show the versions of this command and of berthd on this node',
  synopsis: ['version [--json]'],
  description: [
    'Shows the version of the command line, the version of the protocol it speaks with berthd, and the version of the ' +
      'berthd that serves this node. Where no berthd answers, it says so; that is no failure.',
  ],
  options: [json],
  operands: [],
  examples: [
    { command: 'srun -N4 --ntasks-per-node=1 berth version', text: 'Does every node of a job have the same version?' },
  ],
  run: async ({ flag, socket, terminal }) => {
    const daemon = await daemonVersion(socket);
    if (flag('json')) {
      terminal.print(jsonText({ version, protocol: PROTOCOL, daemon: daemon ?? null }));
    } else {
      terminal.print(`berth   ${version} (protocol ${PROTOCOL})`);
      terminal.print(`berthd  ${daemon ?? 'does not answer on this node'}`);
    }
    return 0;
  },
};

async function daemonVersion(socket: string): Promise<string | undefined> {
  try {
    return (await ask(socket, { list: {} })).version;
  } catch (error) {
    if (error instanceof BerthError && error.code === 'BERTH_DAEMON_UNREACHABLE') return undefined;
    throw error;
  }
}
