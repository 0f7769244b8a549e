/** What stands in for a part of Berth, to see how the others bear it: a plugin of another version, a mad daemon. */
import { execFile } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import type { Cluster } from '../cluster/cluster.js';
import { ending } from '../cluster/command.js';
import { repository } from '../cluster/layout.js';
import { changePlugstack } from './plugstack.js';

const run = promisify(execFile);

/**
 * Builds the plugin of this checkout as one of another protocol version.
 *
 * @param directory where to put it; the cluster's hosts have to see it
 * @returns the plugin's path
 */
export async function buildPluginOfVersion(version: number, directory: string): Promise<string> {
  const generated = join(repository, 'build', 'generated');
  const stage = join(directory, 'plugin');
  await mkdir(stage);
  const header = await readFile(join(generated, 'berth.pb.h'), 'utf8');
  await writeFile(join(stage, 'berth.pb.h'), header.replace('_PROTOCOL_CURRENT = 1', `_PROTOCOL_CURRENT = ${version}`));
  const sources = JSON.parse(await readFile(join(repository, 'native', 'sources.json'), 'utf8')) as {
    readonly client: readonly string[];
    readonly plugin: readonly string[];
  };
  const plugin = join(stage, 'spank_berth.so');
  await run(
    'cc',
    [
      ...['-shared', '-fPIC', '-fvisibility=hidden', '-std=gnu11', '-D_GNU_SOURCE', `-DBERTH_VERSION="${version}.0"`],
      ...[`-I${stage}`, `-I${generated}`, '-o', plugin, join(generated, 'berth.pb.c')],
      ...['slurm/spank_berth.c', ...sources.plugin, ...sources.client, '-lprotobuf-nanopb'],
    ],
    { cwd: repository },
  );
  return plugin;
}

/** Makes all of the cluster's steps load another plugin, until the function that is returned is called. */
export function usePlugin(cluster: Cluster, plugin: string): Promise<() => Promise<void>> {
  return changePlugstack(cluster, (text) => text.replace(/\S+\.so/, plugin));
}

// Answers every request with the bytes, and keeps the connection or ends it.
const SERVER = `
  const [, path, hex, end] = process.argv;
  require('node:fs').rmSync(path, { force: true });
  const server = require('node:net').createServer((socket) => {
    socket.on('error', () => {});
    socket.once('data', () => { socket.write(Buffer.from(hex, 'hex')); if (end === 'end') socket.end(); });
  });
  server.listen(path, () => { require('node:fs').chmodSync(path, 0o666); console.log('ready'); });
`;

/**
 * Lets something else than berthd, which must not run there, listen on a node's socket, until the function that is
 * returned is called.
 */
export async function listenInsteadOfDaemon(
  cluster: Cluster,
  node: string,
  answer: Buffer,
  then: 'end' | 'stay',
): Promise<() => Promise<void>> {
  const socket = '/run/berth/berthd.sock';
  const argv = [process.execPath, '-e', SERVER, socket, answer.toString('hex'), then];
  const server = await cluster.spawn(node, argv, { stdio: ['ignore', 'pipe', 'inherit'] });
  if (server.stdout) await once(server.stdout, 'data');
  return async () => {
    server.kill();
    await ending(server);
  };
}
