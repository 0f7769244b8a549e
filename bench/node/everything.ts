/** berthd with all that a site may have it do. */
import { randomBytes } from 'node:crypto';
import { mkdir, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { once } from 'node:events';
import { join } from 'node:path';
import type { Cluster } from '../../test/cluster/cluster.js';
import { NODE } from '../berthd.js';
import type { Stage } from '../parts/stage.js';

/** Its configuration, which only the compute node's berthd has: the hosts of a cluster share their loopback interface. */
export function everythingFile({ dir }: Cluster): string {
  return join(dir, 'everything', 'berth.toml');
}

/** Restarts the compute node's berthd with a listener for page, metrics and events. */
export async function turnEverythingOn({ cluster, say }: Stage): Promise<void> {
  say('berthd with everything on');
  const file = everythingFile(cluster);
  const token = join(cluster.dir, 'everything', 'token');
  await mkdir(join(cluster.dir, 'everything'));
  await writeFile(token, `${randomBytes(32).toString('hex')}\n`, { mode: 0o600 });
  await writeFile(file, `[events]\nlisten = "127.0.0.1:${await freePort()}"\ntoken_file = "${token}"\n`);
  await cluster.stopDaemon(NODE);
  await cluster.startDaemon(NODE, { config: file });
}

/** A port that nobody listened on a moment ago. */
async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  server.close();
  await once(server, 'close');
  if (address === null || typeof address === 'string') throw new Error('The listener has no port.');
  return address.port;
}
