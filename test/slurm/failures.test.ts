import { chmod, readdir, truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { beforeAll, describe, expect, it } from 'vitest';
import { encodeReply, frame } from '../../src/protocol/index.js';
import { expectFailure } from './failures.js';
import { configurations, Site } from './site.js';
import { buildPluginOfVersion, listenInsteadOfDaemon, usePlugin } from './substitutes.js';
import { changePlugstack } from './plugstack.js';

// Seconds that a rank tries to reach berthd, and waits for its answer.
const PATIENCE = 'wait=0 timeout=1 pull=no';

let site: Site;
let otherPlugin: string;
beforeAll(async () => {
  site = await Site.start({
    plugstackArguments: PATIENCE,
    berthConfig: 'pull_at_launch = false\n[container]\n',
    prepare: async (started) => {
      otherPlugin = await buildPluginOfVersion(99, started.cluster.dir);
      for (const name of ['overwritten', 'shortened', 'replaced']) await started.importTiny(name);
      await damageImages(started);
      // With it, most of this would be refused at submit already (pinning.test.ts): here it is the nodes that find out.
      await started.cluster.stopDaemon('login');
    },
  });
  return () => site.stop();
});

/** Does to the store's files what only a broken file system, or root, can do to them. */
async function damageImages(started: Site): Promise<void> {
  const file = (name: string): Promise<string> => started.imageFile(name);
  await writeFile(await file('overwritten'), Buffer.alloc(4096, 0xff), { flag: 'r+' });
  await truncate(await file('shortened'), 100);
  await chmod(await file('replaced'), 0o666);
}

describe.each(configurations())('with userns = $userns', (configuration) => {
  const { node } = configuration;

  it.each([
    ['an image that is not in the store', 'unknown', 'BERTH_IMAGE_UNKNOWN'],
    ['a digest that is not in the store', `sha256:${'0'.repeat(64)}`, 'BERTH_IMAGE_UNKNOWN'],
    ['a name that no image can have', 'Debian', 'BERTH_IMAGE_NAME'],
    ['an image whose file was overwritten', 'overwritten', 'BERTH_IMAGE_DAMAGED'],
    ['an image whose file was cut short', 'shortened', 'BERTH_IMAGE_DAMAGED'],
    ['an image that others may write to', 'replaced', 'BERTH_IMAGE_DAMAGED'],
  ])('%s', async (_, image, code) => {
    await expectFailure(site, configuration, image, code);
  });

  it('an empty name, and one with a line break, are refused before there is a job', async () => {
    for (const image of ['', 'debian\nother']) {
      const { status, stderr } = await site.shell(configuration, `srun --image='${image}' true`);
      expect(stderr).toContain('berth: BERTH_OPTION: --image was given');
      expect(status).toBe(255);
    }
  });

  it('a plugin of another version than the daemon', async () => {
    const restore = await usePlugin(site.cluster, otherPlugin);
    try {
      const [ending] = await expectFailure(site, configuration, 'debian', 'BERTH_PROTOCOL_VERSION');
      expect(ending?.said).toContain('the client is version 99.0 (protocol 99)');
    } finally {
      await restore();
    }
  });

  describe('a node without berthd', () => {
    it('that is dead', async () => {
      await site.cluster.killDaemon(node);
      try {
        const [ending] = await expectFailure(site, configuration, 'debian', 'BERTH_DAEMON_UNREACHABLE', {
          eachRank: true,
        });
        expect(ending?.said).toContain('nothing was run outside the container');
      } finally {
        await site.startDaemon(node);
      }
      expect(await site.lines(configuration, 'srun --image=debian cat /image')).toEqual(['debian']);
    });

    it('that does not start because its configuration is wrong, which it says', async () => {
      await site.cluster.stopDaemon(node);
      const config = join(site.cluster.dir, 'wrong.toml');
      await writeFile(config, '[container]\nusrns = "off"\n');
      try {
        await expect(site.cluster.startDaemon(node, { config })).rejects.toThrow(
          /BERTH_CONFIG_INVALID: .*berth\.toml:2: .*usrns[^]*did you mean userns[^]*hint: /,
        );
        await expectFailure(site, configuration, 'debian', 'BERTH_DAEMON_UNREACHABLE', {
          eachRank: true,
        });
      } finally {
        await site.startDaemon(node);
      }
    });
  });

  describe('something else on the socket, that', () => {
    const launch = { launch: { containerId: '0123456789ab', userNamespace: true, image: 'debian:latest' } };
    const newer = Buffer.from(encodeReply(launch));
    const eachRank = { eachRank: true };
    const both = { eachRank: true, bySrun: true };
    newer[1] = 2; // field 1 is the protocol version
    it.each([
      ['speaks another language', Buffer.from('HTTP/1.1 400 Bad Request\r\n\r\n'), 'stay', 'BERTH_PROTOCOL_FRAME', {}],
      ['answers with nonsense', frame(Buffer.from('no message')), 'stay', 'BERTH_PROTOCOL_FRAME', {}],
      ['speaks a newer protocol', frame(newer), 'stay', 'BERTH_PROTOCOL_VERSION', {}],
      ['answers another question', frame(encodeReply({ images: {} })), 'stay', 'BERTH_PROTOCOL_FRAME', both],
      ['gives no namespaces', frame(encodeReply(launch)), 'stay', 'BERTH_PROTOCOL_FRAME', both],
      ['hangs up', Buffer.alloc(0), 'end', 'BERTH_DAEMON_UNREACHABLE', eachRank],
      ['stops half-way', frame(encodeReply(launch)).subarray(0, 9), 'end', 'BERTH_DAEMON_UNREACHABLE', eachRank],
      ['never answers', Buffer.alloc(0), 'stay', 'BERTH_DAEMON_UNREACHABLE', eachRank],
    ] as const)('%s', async (_, answer, then, code, expectation) => {
      await site.cluster.stopDaemon(node);
      const stop = await listenInsteadOfDaemon(site.cluster, node, answer, then);
      try {
        await expectFailure(site, configuration, 'debian', code, expectation);
      } finally {
        await stop();
        await site.startDaemon(node);
      }
    });
  });

  it('a store that is full', async () => {
    const { cluster } = site;
    const full = `[store]\npath = "/mnt"\npull_at_launch = false\n[container]\nuserns = "${configuration.userns}"\n`;
    const config = join(cluster.dir, 'full.toml');
    await writeFile(config, full);
    await cluster.stopDaemon(node);
    await cluster.exec(node, ['mount', '-t', 'tmpfs', '-o', 'size=1m,mode=755', 'tmpfs', '/mnt']);
    try {
      await cluster.startDaemon(node, { config });
      const { status, stderr } = await cluster.exec(node, ['sh', '-c', 'berth import big /usr/bin']);
      expect(stderr).toMatch(/^berth: BERTH_STORE_FULL: [^]*why: \S[^]*hint: nothing was added/m);
      expect(status).toBe(6);
      const { stdout } = await cluster.exec(node, ['sh', '-c', 'berth images --json; ls /mnt/tmp /mnt/images/sha256']);
      expect(stdout).not.toContain('big');
      await expectFailure(site, configuration, 'big', 'BERTH_IMAGE_UNKNOWN');
    } finally {
      await cluster.stopDaemon(node);
      await cluster.exec(node, ['umount', '/mnt']);
      await site.startDaemon(node);
    }
  });
});

it('leaves nothing unfinished in the store', async () => {
  expect(await readdir(join(site.cluster.layout.store, 'tmp'))).toEqual([]);
});

it.each([
  ['wait=soon', 'wait=soon needs a number of seconds, at most 3600'],
  ['socket=berthd.sock', 'socket=berthd.sock needs an absolute path'],
  ['pull=perhaps', 'pull=perhaps needs yes or no'],
  ['contain=all', 'contain=all needs batch, interactive, both with a comma, or none'],
  ['patience=1', 'patience=1 is not an argument of spank_berth.so'],
])('plugstack.conf with %s says what is wrong, before there is a job', async (argument, fault) => {
  const [configuration] = configurations();
  const restore = await changePlugstack(site.cluster, (text) => text.replace(PATIENCE, argument));
  try {
    const { status, stderr } = await site.shell(configuration, 'srun true');
    expect(stderr).toContain(`berth: BERTH_CONFIG_INVALID: plugstack.conf: ${fault}\n`);
    expect(status).not.toBe(0);
  } finally {
    await restore();
  }
});
