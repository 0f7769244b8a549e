// `berth images` as text and as JSON, of what berthd tells it.
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { encodeReply, type v1 } from '../../src/protocol/index.js';
import { answeringAt, berth, type Result } from './cli-tools.js';

let directory: string;
let socket: string;

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'berth-cli-images-'));
  socket = join(directory, 'berthd.sock');
});

afterEach(() => {
  rmSync(directory, { recursive: true, force: true });
});

describe('berth images', () => {
  it('shows short digests, sizes and ages; the whole digest in JSON', async () => {
    const digest = `sha256:${'0123456789abcdef'.repeat(4)}`;
    const created = Math.floor(Date.now() / 1000) - 3 * 86_400;
    const images = [
      {
        name: 'debian:12',
        digest,
        size: '136056832',
        created,
        source: '/tmp/debian.tar',
        owner: 'site',
        format: 'squashfs',
        access: { everyone: true, uids: [], gids: [] },
        containers: 2,
        used: created,
      },
      {
        name: 'lammps:2',
        digest,
        size: '999',
        created,
        source: 'lab',
        owner: 'ada',
        format: 'squashfs',
        access: { everyone: false, uids: [7], gids: [8, 9] },
        containers: 0,
        used: created,
      },
    ];
    const reply = encodeReply({ images: { images } });
    const { stdout } = await answeringAt(socket, reply, () => berth(['images', '--socket', socket]));
    expect(stdout.split('\n')).toEqual([
      'NAME       DIGEST          SIZE  AGE  OWNER  USERS                    IN USE        SOURCE',
      'debian:12  0123456789ab  136 MB  3 d  site   everyone                 2 containers  /tmp/debian.tar',
      'lammps:2   0123456789ab   999 B  3 d  ada    owner, 1 user, 2 groups  3 d ago       lab',
      '',
    ]);
    const written = await answeringAt(socket, reply, () => berth(['images', '--json', '--socket', socket]));
    expect(JSON.parse(written.stdout)).toEqual({
      images: images.map((image) => ({ ...image, size: Number(image.size) })),
    });
  });
});

describe('berth images of users who share many', () => {
  const shared = (owner: string, number: number): v1.Image.$Properties => ({
    name: `user:${owner}/app:${number}`,
    digest: `sha256:${'0'.repeat(64)}`,
    size: '1',
    created: 1_000_000 + number,
    source: 's'.repeat(500),
    owner,
    format: 'squashfs',
  });
  // Tags of an image that is called "user" are nobody else's.
  const own = ['mine', 'user'].flatMap((name) =>
    Array.from({ length: 30 }, (_, i) => ({ ...shared('me', i), name: `${name}:${i}` })),
  );
  const many = (owner: string, count: number): v1.Image.$Properties[] =>
    Array.from({ length: count }, (_, i) => shared(owner, i));
  const images = [...own, ...many('ada', 20), ...many('bob', 1000), ...many('eve', 21)];
  const list = (...args: string[]): Promise<Result> =>
    answeringAt(socket, encodeReply({ images: { images } }), () => berth(['images', ...args, '--socket', socket]));
  const names = ({ stdout }: Result): string[] =>
    stdout
      .trim()
      .split('\n')
      .slice(1)
      .map((line) => line.split(' ')[0] ?? '');

  it('shows the newest of each owner, all of one that is no more than that, and where the others are', async () => {
    const result = await list();
    expect(result.stderr).toBe(
      'berth: 981 more images are shared with you, by bob (980) and eve (1): berth images user:bob/ lists all of bob\n',
    );
    const shown = names(result);
    expect(shown.filter((name) => /^(mine|user):\d+$/.test(name))).toHaveLength(60);
    for (const owner of ['ada', 'bob', 'eve'])
      expect(shown.filter((name) => name.startsWith(`user:${owner}/`))).toHaveLength(20);
    expect(shown).toContain('user:bob/app:999');
    expect(shown).not.toContain('user:bob/app:979');
    const foreign = result.stdout.split('\n').filter((line) => /^user:[a-z]/.test(line));
    for (const line of foreign) expect(line.length).toBeLessThan(200);
  });

  it('shows all whose names begin as one asks', async () => {
    const result = await list('user:bob/');
    expect(result.stderr).toBe('');
    expect(names(result)).toEqual(Array.from({ length: 1000 }, (_, i) => `user:bob/app:${i}`));
    expect(names(await list('mine:2'))).toEqual(['mine:2', ...Array.from({ length: 10 }, (_, i) => `mine:2${i}`)]);
    expect((await list('nothing')).status).toBe(0);
  });

  it('writes all of them as JSON', async () => {
    const { stdout, stderr } = await list('--json');
    expect(stderr).toBe('');
    expect((JSON.parse(stdout) as { images: unknown[] }).images).toHaveLength(images.length);
    const some = JSON.parse((await list('--json', 'user:eve/')).stdout) as { images: { source: string }[] };
    expect(some.images).toHaveLength(21);
    expect(some.images[0]?.source).toHaveLength(500);
  });
});
