// The executables that berthd starts for one errand each, and those that it puts into containers: with an order as they get
// it, and with orders that they never should. scripts/sanitize.sh runs this with executables that are full of checks.
import { execFileSync, spawn, type StdioOptions } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, chownSync, closeSync, existsSync, mkdirSync, openSync, readdirSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { builderExecutable, native } from '../../src/native/index.js';
import { Caller } from './helpers/caller.js';
import { insideOf, USER } from './helpers/container.js';
import { directory, makeImage, toolbox } from './helpers/images.js';
import { leavesNothing } from './helpers/lifecycle.js';
import { makeScratch, removeScratch } from './helpers/scratch.js';

const programs = process.env['BERTH_TEST_PROGRAMS'] ?? dirname(builderExecutable);

let scratch: string;
let caller: Caller;
/** A directory of the user's. */
let own: string;
beforeAll(async () => {
  scratch = makeScratch();
  caller = await Caller.connect(scratch);
  own = join(scratch, 'own');
  mkdirSync(own);
  chownSync(own, USER.uid, USER.gid);
});
afterAll(async () => {
  await caller.close();
  removeScratch(scratch);
});
leavesNothing(() => scratch);

interface Ended {
  readonly status: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs an executable to its end. It must not crash, nor say what a sanitizer says. */
async function run(
  name: string,
  argv: readonly string[],
  more: readonly number[] = [],
  env: Readonly<Record<string, string>> = {},
): Promise<Ended> {
  return runCommand([join(programs, `berth-${name}`), ...argv], more, env);
}

async function runCommand(
  [command = '', ...argv]: readonly string[],
  more: readonly number[],
  env: Readonly<Record<string, string>>,
): Promise<Ended> {
  const stdio: StdioOptions = ['ignore', 'pipe', 'pipe', ...more];
  const child = spawn(command, argv, { env, cwd: '/', stdio });
  const [stdout, stderr] = [child.stdout, child.stderr].map((stream) => stream?.setEncoding('latin1').toArray());
  const [status] = (await once(child, 'close')) as [number | null];
  const ended = { status, stdout: ((await stdout) ?? []).join(''), stderr: ((await stderr) ?? []).join('') };
  expect(ended.stderr).not.toMatch(/Sanitizer|runtime error/);
  expect(ended.status).not.toBeNull();
  return ended;
}

/** Packets to a child, and what it answers to each; its exit status at the end. */
async function converse(name: string, packets: readonly string[], more: readonly number[] = []): Promise<string[]> {
  const { ours, theirs } = native.packetPair();
  try {
    const ended = run(name, [], [theirs, caller.pidfd, ...more]);
    native.close(theirs);
    const said: string[] = [];
    for (const packet of packets) {
      native.sendPacket(ours, packet);
      const { text, descriptors } = await native.receivePacket(ours, 10_000);
      said.push(descriptors.length > 0 ? `${text} with a descriptor` : text);
      descriptors.forEach((descriptor) => native.close(descriptor));
    }
    await ended;
    return said;
  } finally {
    native.close(ours);
  }
}

const whom = `${USER.uid} ${USER.gid}\n${USER.gids.join(' ')}\n`;

/** What is no order of any of them. */
const disorders: readonly (readonly [what: string, packet: string])[] = [
  ['of nothing', '\n'],
  ['without a path', whom],
  ['with a relative path', `${whom}somewhere`],
  ['of a user that is none', '-1 0\n\n/'],
  ['of a user beyond all numbers', '99999999999999999999 0\n\n/'],
  ['with groups that are none', '1 1\n1 x\n/'],
  ['with words that mean nothing', `${whom}/\0\0nothing\0+\0-relative`],
  ['of letters alone', 'A'.repeat(60_000)],
];

describe('an order', () => {
  it.each(disorders.flatMap((row) => ['opener', 'cachefile', 'saver'].map((name) => [name, ...row] as const)))(
    'to the %s %s is refused',
    async (name, _, packet) => {
      const formatted = native.memoryFile(4096);
      try {
        const [answer = ''] = await converse(name, [packet], name === 'cachefile' ? [formatted] : []);
        expect(answer).toMatch(/^failed 22 /);
      } finally {
        native.close(formatted);
      }
    },
  );

  it.each([
    ['a name that is too long', `/${'x'.repeat(5000)}/`, 36],
    ['many parts', '/x'.repeat(1000), 2],
  ])('with a path of %s is told why it cannot be done', async (_, path, errno) => {
    for (const name of ['opener', 'saver'])
      expect((await converse(name, [`${whom}${path}/file`]))[0]).toMatch(new RegExp(`^failed ${errno} `));
  });
});

it('the opener opens a file, and says what else it is', async () => {
  writeFileSync(join(own, 'file'), 'content');
  const ask = async (path: string, words = ''): Promise<string | undefined> =>
    (await converse('opener', [`${whom}${path}${words}`]))[0];
  expect(await ask(join(own, 'file'))).toMatch(/^file \S+ \d+ 7 \d+ \d+ with a descriptor$/);
  expect(await ask(own)).toBe('other directory');
  expect(await ask('/dev/null')).toBe('other device');
  expect(await ask(join(own, 'file'), `\0+${scratch}\0-${own}`)).toMatch(/^denied .*own/);
  expect(await ask(join(own, 'none'))).toBe('failed 2 openat2');
});

it("the maker of a cache's file makes it on what the site allows", async () => {
  const formatted = native.memoryFile(2 ** 20);
  writeFileSync(`/proc/self/fd/${formatted}`, Buffer.alloc(5000, 'x'), { flag: 'r+' });
  const ask = async (words: string): Promise<string | undefined> =>
    (await converse('cachefile', [`${whom}${own}${words}`], [formatted]))[0];
  try {
    expect(await ask('\0' + '0xef53 0x58465342 0x9123683e 0x01021994')).toBe('made with a descriptor');
    expect(await ask('\0' + '0x1')).toMatch(/^filesystem 0x/);
    expect(await ask('\0nonsense 0xffffffffffffffffffffff')).toMatch(/^filesystem 0x/);
  } finally {
    native.close(formatted);
  }
});

it('the saver gives its file a name when it is told to, and else leaves none', async () => {
  const order = `${whom}${join(own, 'saved')}`;
  expect(await converse('saver', [order, 'commit'])).toEqual(['file with a descriptor', 'done']);
  expect(existsSync(join(own, 'saved'))).toBe(true);
  expect(await converse('saver', [`${order}-not`, 'nonsense'])).toEqual(['file with a descriptor', '']);
  expect(await converse('saver', [`${whom}${own}/..`])).toEqual([expect.stringMatching(/^failed 21 /)]);
  expect(readdirSync(own).filter((name) => /^\.berth|-not$/.test(name))).toEqual([]);
});

describe('the packer', () => {
  it('archives what was written in a container, and the whole of it', async () => {
    const image = makeImage(scratch, {
      toolbox: toolbox(),
      theirs: directory({ mode: 0o777 }),
      'theirs/old': toolbox({ mode: 0o777 }),
    });
    const inside = insideOf(() => ({ scratch, image, caller }));
    const mounts = [{ source: '/proc', destination: '/proc' }];
    await inside({ writable: { size: 8 }, mounts }, async (container) => {
      const name = `/theirs/${'n'.repeat(200)}`;
      await container.ask('write', '/theirs/new', name);
      await container.ask('remove', '/theirs/old');
      const { mount, user = -1 } = container.namespaces;
      for (const what of ['changes', 'image']) {
        const ids = [USER.uid, USER.gid, ...USER.gids].map(String);
        const { status, stdout, stderr } = await run('packer', [what, ...ids], [mount, user]);
        expect({ status, stderr }).toEqual({ status: 0, stderr: '' });
        const list = execFileSync('tar', ['-t'], { input: Buffer.from(stdout, 'latin1'), encoding: 'utf8' }).split(
          '\n',
        );
        const changed = ['theirs/new', name.slice(1), 'theirs/.wh.old'];
        expect(list.filter((line) => changed.includes(line.replace(/^\.?\//, '')))).toHaveLength(
          what === 'changes' ? 3 : 0,
        );
        expect(list.includes('toolbox')).toBe(what === 'image');
      }
    });
  });

  it.each([[[]], [['changes']], [['nonsense', '1', '1']], [['changes', '-1', 'x']], [['image', '1', '1', '']]])(
    'refuses %j, and namespaces that are none',
    async (argv) => {
      const nothing = openSync('/dev/null', 'r');
      try {
        expect((await run('packer', argv, [nothing, nothing])).status).not.toBe(0);
        const whole = await run('packer', ['changes', '1', '1', '2'], [nothing, nothing]);
        expect({ ...whole, stderr: whole.stderr !== '' }).toEqual({ status: 1, stdout: '', stderr: true });
      } finally {
        closeSync(nothing);
      }
    },
  );
});

it('the asker for devices answers for each path, whatever it is', async () => {
  const long = `/dev/${'x'.repeat(5000)}`;
  const { stdout } = await run('devices', ['--', '/dev/null', '/etc/passwd', '/dev/none', long, '', '/dev/zero']);
  expect(stdout).toBe('100001');
  expect((await run('devices', [])).stdout).toBe('');
  expect((await run('devices', ['/none/cgroup.procs', '--', '/dev/null'])).status).toBe(1);
});

describe('the starter of FUSE servers', () => {
  const ids = [USER.uid, USER.gid, ...USER.gids].map(String);

  it('starts one as the user, in a process namespace, and hands on its pidfd', async () => {
    const server = join(scratch, 'server');
    writeFileSync(server, '#!/bin/sh\nexec >&2\nid -u; id -G; echo $$ "$@"; grep CapBnd /proc/self/status\n');
    chmodSync(server, 0o755);
    const { ours, theirs } = native.packetPair();
    const nothing = openSync('/dev/null', 'r');
    try {
      const ended = run('fuse-server', [server, ...ids], [theirs, nothing, nothing]);
      native.close(theirs);
      const { text, descriptors } = await native.receivePacket(ours, 10_000);
      expect(text).toMatch(/^\d+$/);
      expect(descriptors).toHaveLength(1);
      const { status, stderr } = await ended;
      descriptors.forEach((descriptor) => native.close(descriptor));
      expect(status).toBe(0);
      expect(stderr.split('\n').slice(0, 4)).toEqual([
        ...[String(USER.uid), `${USER.gid} ${USER.gids.join(' ')}`],
        ...['1 -f /proc/self/fd/4 /dev/fd/5', 'CapBnd:\t0000000000000000'],
      ]);
    } finally {
      native.close(ours);
      closeSync(nothing);
    }
  });

  it.each([
    [[]],
    [['relative', '1', '1']],
    [['/bin/true', '-1', '1']],
    [['/bin/true', '1', '4294967295']],
    [['/bin/true', '1', '1', 'x']],
  ])('refuses %j', async (argv) => {
    expect(await run('fuse-server', argv)).toMatchObject({
      status: 1,
      stderr: expect.stringContaining('parse') as string,
    });
  });
});

/** Of reports (native/entrypoint/report.h): the result, and the texts. */
function parseReport(bytes: string): { result: number; texts: string[] } {
  const report = Buffer.from(bytes, 'latin1');
  return {
    result: report.readUInt32LE(0),
    texts: report
      .subarray(8, 8 + report.readUInt32LE(4))
      .toString()
      .split('\0'),
  };
}

describe("what starts an image's entrypoint", () => {
  /** What comes out of descriptor 3. */
  async function report(start: (descriptor: number) => Promise<Ended>): Promise<Ended> {
    const { readEnd, writeEnd } = native.pipe();
    const ended = start(writeEnd);
    native.close(writeEnd);
    const stdio: StdioOptions = [readEnd, 'pipe', 'inherit'];
    const stdout = execFileSync('cat', { stdio, encoding: 'latin1', maxBuffer: 4 * 2 ** 20 });
    native.close(readEnd);
    return { ...(await ended), stdout };
  }

  // A root directory as a container's: this machine's, with what berthd puts there.
  const ROOT = `
    set -e
    mount -t tmpfs none "$1"; cd "$1"; mkdir upper work root
    mount -t overlay -o "lowerdir=/,upperdir=$1/upper,workdir=$1/work" none root
    mkdir root/.berth; cp "$2" root/.berth/entrypoint
    printf '%b' "$3" >root/.berth/entrypoint.argv
    exec chroot root /.berth/entrypoint --start 3`;

  function startWith(words: string): Promise<Ended> {
    const argv = ['unshare', '--mount', 'sh', '-c', ROOT, 'sh', own, join(programs, 'berth-entrypoint'), words];
    return report((descriptor) => runCommand(argv, [descriptor], { PATH: '/usr/sbin:/usr/bin:/sbin:/bin' }));
  }

  it('reports the directory, the umask and the environment', async () => {
    const { stdout } = await report((out) => run('entrypoint', ['--report', '3'], [out], { ONE: '1', EMPTY: '' }));
    const { result, texts } = parseReport(stdout);
    expect({ result, texts: texts.slice(0, 2) }).toEqual({ result: 2, texts: ['/', '022'] });
    expect(texts).toEqual(expect.arrayContaining(['ONE=1', 'EMPTY=']));
  });

  it('is started with what has to report, and prepares what that reports', async () => {
    const { stdout } = await startWith(String.raw`sh\0-c\0cd /usr; umask 027; export PREPARED="a b"; exec "$@"\0sh\0`);
    const { result, texts } = parseReport(stdout);
    expect({ result, texts: texts.slice(0, 2) }).toEqual({ result: 2, texts: ['/usr', '027'] });
    expect(texts).toContain('PREPARED=a b');
  });

  it.each([
    ['that has no word', '', 'is empty'],
    ['that is not there', String.raw`/none/such\0`, 'execvp /none/such: No such file or directory'],
    ['of too many words', String.raw`x\0`.repeat(2000), 'Argument list too long'],
    ['of too much text', 'x'.repeat(70_000), 'Argument list too long'],
  ])('says why where it is one %s', async (_, words, why) => {
    const { stdout } = await startWith(words);
    expect(parseReport(stdout).result).toBe(1);
    expect(stdout).toContain(why);
  });

  it('says why where there is nothing to start', async () => {
    const { stdout } = await report((out) => run('entrypoint', ['--start', '3'], [out]));
    expect(parseReport(stdout)).toMatchObject({ result: 1 });
    expect(stdout).toContain('/.berth/entrypoint.argv: No such file or directory');
  });

  it.each([
    [[]],
    [['--start']],
    [['--start', '']],
    [['--report', '2']],
    [['--report', '99999999999999999999']],
    [['--nonsense', '3']],
  ])('refuses %j', async (argv) => {
    expect((await run('entrypoint', argv)).status).toBe(125);
  });
});

describe('shifter in a container', () => {
  it('starts the program where it is told to, with its variables', async () => {
    writeFileSync(join(scratch, 'variables'), '# one\nTWO=2\n\nNONE_SUCH\n');
    const argv = [
      '-e',
      'ONE=1',
      `--env-file=${join(scratch, 'variables')}`,
      '--workdir=/usr',
      '--image=debian:12',
      '--',
    ];
    const env = { BERTH_IMAGE: 'docker.io/library/debian:12', PATH: '/usr/bin:/bin' };
    const { stdout, status } = await run('shifter', [...argv, 'sh', '-c', 'pwd; echo $ONE $TWO'], [], env);
    expect({ stdout, status }).toEqual({ stdout: '/usr\n1 2\n', status: 0 });
    expect((await run('shifter', ['--entrypoint=/bin/echo', 'by', 'echo'])).stdout).toBe('by echo\n');
    expect((await run('shifter', ['--help'])).stdout).toContain('Usage: shifter');
  });

  it.each([
    [['--nonsense']],
    [['--image']],
    [['--image=other', 'true']],
    [[`--image=${'x'.repeat(9000)}`, 'true']],
    [['--volume=/a:/b', 'true']],
    [Array.from({ length: 300 }, () => '--volume=/a:/b')],
    [['--module=gpu', 'true']],
    [['-e', '=x', 'true']],
    [['--env-file=/none', 'true']],
    [['--workdir=/none', 'true']],
    [['--entrypoint', 'true']],
    [['/none']],
    [['/etc/passwd']],
  ])('refuses %j', async (argv) => {
    const env = { BERTH_IMAGE: 'debian:12', SLURM_SPANK_BERTH_OPTIONS: 'nonsense\n\n=\nvolume' };
    const { status, stderr } = await run('shifter', argv, [], env);
    expect(status).not.toBe(0);
    expect(stderr).not.toBe('');
  });
});
