/** berth pull, with a berthd and a store of its own. */
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, readdir, rm, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { artifacts, repository } from '../../../test/cluster/layout.js';
import { run, timed } from '../../program.js';
import type { Place, Session, Way } from './ways.js';

export const berthWay: Way = { id: 'berth', title: 'berth pull', begin };

const cli = [process.execPath, join(repository, 'build', 'lib', 'cli.js')] as const;

async function begin({ repository: from, directory, compression, signal }: Place): Promise<Session> {
  await mkdir(directory);
  const runtime = join(directory, 'run');
  const store = join(directory, 'store');
  await mkdir(runtime);
  await mkdir(store, { mode: 0o700 });
  const config = join(directory, 'berth.toml');
  await writeFile(
    config,
    `[daemon]\nruntime_directory = "${runtime}"\n` +
      `[store]\npath = "${store}"\ncompression_level = ${compression.level}\n`,
  );
  const berthd = await startDaemon(config);
  const pull = [...cli, '--socket', join(runtime, 'berthd.sock'), 'pull', '--tls-verify=false'];
  return {
    daemons: berthd.pid === undefined ? [] : [berthd.pid],
    pull: async (tag) => ({
      'berth pull': await timed(() => run([...pull, `${from}:${tag}`], { env: { HOME: directory }, signal })),
    }),
    tidy: () => Promise.resolve(),
    imageSize: () => newestImage(join(store, 'images')),
    end: async () => {
      berthd.kill('SIGTERM');
      if (berthd.exitCode === null && berthd.signalCode === null) await once(berthd, 'exit');
      await run(['umount', join(runtime, 'containers')]);
      await rm(directory, { recursive: true, force: true });
    },
  };
}

async function startDaemon(config: string): Promise<ChildProcess> {
  const berthd = spawn(process.execPath, [artifacts.daemon, '--config', config], {
    stdio: ['ignore', 'ignore', 'pipe'],
  });
  let said = '';
  await new Promise<void>((resolve, reject) => {
    berthd.stderr.setEncoding('utf8').on('data', (text: string) => {
      said += text;
      if (said.includes('berthd is ready')) resolve();
    });
    berthd.once('exit', () => {
      reject(new Error(`berthd ended: ${said}`));
    });
  });
  return berthd;
}

/** Bytes of the image that was added last. */
async function newestImage(images: string): Promise<number> {
  const names = (await readdir(images, { recursive: true })).filter((name) => name.endsWith('.squashfs'));
  const found = await Promise.all(names.map((name) => stat(join(images, name))));
  return found.sort((a, b) => b.mtimeMs - a.mtimeMs)[0]?.size ?? Number.NaN;
}
