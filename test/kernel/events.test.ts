// The event stream on berthd's own socket: what is told of real launches, to whom, and what readers can do to berthd.
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { connect } from 'node:net';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { v1 } from '../../src/protocol/index.js';
import { TestClient, TestDaemon } from './helpers/daemon.js';
import { makeArchive, toolbox } from './helpers/images.js';
import { projectRoot, Running } from './helpers/programs.js';
import { makeScratch, removeScratch } from './helpers/scratch.js';
import { get, TestReader, type Told } from './helpers/web.js';

const cli = join(projectRoot, 'build', 'lib', 'cli.js');
const loader = join(projectRoot, 'node_modules', 'tsx', 'dist', 'loader.mjs');
const CONFIG = 'pull_at_launch = false\n[container]\nhome = false\n';
const NOBODY = 65_534;
/** Another of every system's accounts. */
const OTHER = 1;

let daemon: TestDaemon;
let scratch: string;
let job = 0;

beforeAll(async () => {
  scratch = makeScratch();
  daemon = new TestDaemon(CONFIG);
  await daemon.start();
  const archive = makeArchive(scratch, { toolbox: toolbox() });
  const { stderr } = berth('import', 'app', archive);
  expect(stderr).toBe('');
});

afterAll(async () => {
  await daemon.remove();
  removeScratch(scratch);
});

const place = () => ({ socketPath: daemon.socket });

function berth(...args: readonly string[]): { status: number | null; stdout: string; stderr: string } {
  const env = { PATH: '/usr/bin:/bin', BERTH_SOCKET: daemon.socket };
  // All events that are kept are a MiB, and the lines around them.
  const maxBuffer = 8 * 1024 * 1024;
  return spawnSync(process.execPath, [cli, ...args], { encoding: 'utf8', env, timeout: 15_000, maxBuffer });
}

/** A step of `ranks` ranks is launched, and its job ends. */
async function runStep(jobId: number, uid = NOBODY, ranks = 1): Promise<void> {
  const client = await TestClient.open(daemon.socket);
  for (let step = 0; step < 2; step++) {
    const launch = {
      purpose: v1.Purpose.PURPOSE_STEP,
      jobId,
      stepId: step,
      uid,
      gid: uid,
      image: 'app',
      nodeName: 'n1',
    };
    expect((await client.ask({ launch }))?.error ?? null).toBeNull();
    for (let rank = 0; rank < ranks; rank++) client.send({ rankJoined: { rank, waitUs: 100 + rank, joinUs: 60 } });
  }
  await client.ask({ jobEnd: { jobId } });
  client.socket.destroy();
}

describe('berth token', () => {
  it('says where nothing is served over the network, and what does that', () => {
    const { status, stdout, stderr } = berth('token');
    expect({ status, stdout }).toEqual({ status: 2, stdout: '' });
    expect(stderr).toContain('BERTH_EVENTS_NOT_SERVED');
    expect(stderr).toContain('serves no page and no stream over the network: its [events] listen is not set');
    expect(stderr).toMatch(/hint: .*\[events\] listen and token_file/);
  });
});

describe('the event stream', () => {
  it('tells of a launch, its phases, its ranks and its container, each once', async () => {
    const reader = await TestReader.open(place());
    await runStep(++job, NOBODY, 8);
    await expect.poll(() => reader.of('ranks').length).toBe(2);
    reader.close();
    const types = reader.told.map(({ type, what }) => (typeof what === 'string' ? `${type} ${what}` : type));
    expect(types.slice(0, 5)).toEqual(['hello', 'container built', 'launch', 'launch', 'container ended']);
    const [cold, warm] = reader.of('launch');
    expect(cold).toMatchObject({
      v: 1,
      job,
      step: 0,
      uid: NOBODY,
      user: 'nobody',
      image: expect.stringContaining('app') as string,
      purpose: 'step',
      start: 'cold',
    });
    expect(warm).toMatchObject({ job, step: 1, start: 'warm', container: cold?.['container'] });
    const phases = cold?.['phases'] as { name: string; startUs: number; durationUs: number }[];
    expect(phases.map(({ name }) => name)).toEqual(
      expect.arrayContaining(['request', 'image mount', 'build', 'reply']),
    );
    for (const { startUs, durationUs } of phases)
      expect(startUs + durationUs).toBeLessThanOrEqual((cold?.['totalUs'] as number) + 1000);
    expect(reader.of('ranks')[0]).toMatchObject({
      job,
      step: 0,
      joined: 8,
      waitUs: { least: 100, median: 103, most: 107 },
    });
  });

  it('tells of a failed launch by the code of its error, once for all ranks of the step', async () => {
    const reader = await TestReader.open(place());
    const client = await TestClient.open(daemon.socket);
    const launch = { jobId: ++job, uid: NOBODY, gid: NOBODY, image: 'absent', nodeName: 'n1' };
    for (let rank = 0; rank < 5; rank++)
      expect((await client.ask({ launch }))?.error).toMatchObject({ code: 'BERTH_IMAGE_UNKNOWN' });
    client.socket.destroy();
    await runStep(++job);
    await expect.poll(() => reader.of('ranks').length).toBe(2);
    reader.close();
    expect(reader.of('launch').map(({ error }) => error)).toEqual(['BERTH_IMAGE_UNKNOWN', undefined, undefined]);
    expect(reader.of('launch')[0]).toMatchObject({
      uid: NOBODY,
      user: 'nobody',
      text: expect.stringMatching(/absent.*: /) as string,
    });
    expect(berth('events').stdout).toMatch(/nobody, absent: BERTH_IMAGE_UNKNOWN: .*absent/);
  });

  it('tells of the failed launch of a user whom nobody knows, by number', async () => {
    const reader = await TestReader.open(place());
    const client = await TestClient.open(daemon.socket);
    await client.ask({ launch: { jobId: ++job, uid: 54_321, gid: 54_321, image: 'app', nodeName: 'n1' } });
    client.socket.destroy();
    await expect.poll(() => reader.of('launch')).toMatchObject([{ uid: 54_321, error: 'BERTH_IDENTITY' }]);
    reader.close();
    expect(reader.of('launch')[0]).not.toHaveProperty('user');
  });

  it('tells of a check that does not find what it found, not of those that do', async () => {
    const reader = await TestReader.open(place(), 'oldest');
    await get(place(), '/v1/health?max-age=0');
    await get(place(), '/v1/health?max-age=0');
    const { body } = await get(place(), '/v1/health?max-age=3600');
    const findings = (JSON.parse(body) as { checks: { id: string; status: string }[] }).checks;
    const notPassed = findings.filter(({ status }) => status !== 'pass').map(({ id }) => id);
    await sleep(300);
    reader.close();
    expect(reader.of('health').map(({ check }) => check)).toEqual(expect.arrayContaining(notPassed));
    expect(reader.of('health').length).toBeLessThan(findings.length);
  });

  it('is read again from a cursor, without a gap, and says so where berthd was restarted', async () => {
    const first = await TestReader.open(place());
    await runStep(++job);
    await expect.poll(() => first.of('ranks').length).toBe(2);
    first.close();
    const at = first.of('launch')[0]?.cursor ?? '';
    const second = await TestReader.open(place(), at);
    await expect.poll(() => second.told.length).toBeGreaterThan(4);
    second.close();
    const from = first.told.findIndex(({ cursor }) => cursor === at) + 1;
    expect(second.told.slice(1, 1 + first.told.length - from)).toEqual(first.told.slice(from));
    await daemon.end('SIGTERM');
    await daemon.start();
    const third = await TestReader.open(place(), at);
    await expect.poll(() => third.told.length).toBeGreaterThan(2);
    third.close();
    expect(third.told.slice(1, 3)).toMatchObject([
      { type: 'gap', reason: 'restarted' },
      { type: 'daemon', what: 'started' },
    ]);
  });

  it('shows a plain user their own in full, and of others their number', async () => {
    const script = join(import.meta.dirname, 'helpers', 'read-as.ts');
    const user = ['--reuid=65534', '--regid=65534', '--clear-groups', 'env', 'TSX_DISABLE_CACHE=1', 'HOME=/'];
    const reader = await Running.start(
      'setpriv',
      ...user,
      process.execPath,
      '--import',
      loader,
      script,
      daemon.socket,
      'now',
    );
    const told: Told[] = [JSON.parse(await reader.line()) as Told];
    const [own, others] = [++job, ++job];
    await runStep(own, NOBODY, 2);
    await runStep(others, OTHER, 2);
    const counted = (): number =>
      told
        .filter(({ type }) => type === 'others')
        .reduce((sum, { counts }) => sum + ((counts as { launch?: number }).launch ?? 0), 0);
    while (counted() < 2 || told.filter(({ type }) => type === 'ranks').length < 2)
      told.push(JSON.parse(await reader.line()) as Told);
    await reader.stop();
    expect(told[0]).toMatchObject({ type: 'hello', uid: NOBODY });
    const full = told.filter(({ type }) => type !== 'others' && type !== 'hello');
    expect(new Set(full.map((event) => event['job']))).toEqual(new Set([own]));
    for (const { counts } of told.filter(({ type }) => type === 'others'))
      expect(Object.keys(counts as object).every((type) => ['launch', 'ranks', 'container'].includes(type))).toBe(true);
  });
});

describe('readers of the stream', () => {
  const privateMemory = (): number =>
    Number(/^RssAnon:\s+(\d+)/m.exec(readFileSync(`/proc/${daemon.pid}/status`, 'utf8'))?.[1]);

  /** Fails launches, each with a name that makes a large event. */
  async function makeEvents(count: number): Promise<void> {
    const client = await TestClient.open(daemon.socket);
    for (let i = 0; i < count; i++) {
      const image = `${'x'.repeat(150)}${++job}`;
      await client.ask({ launch: { jobId: job, uid: NOBODY, gid: NOBODY, image, nodeName: 'n1' } });
    }
    client.socket.destroy();
  }

  it(
    'of whom half are stuck keep launches from nothing, and cost berthd no more memory than their sockets',
    { timeout: 180_000 },
    async () => {
      /** A hundred launches, of which each is told. */
      const launch = async (): Promise<void> => {
        const watch = await TestReader.open(place());
        for (let i = 0; i < 50; i++) await runStep(++job);
        await expect.poll(() => watch.of('launch').length, { timeout: 60_000 }).toBe(100);
        watch.close();
        expect(watch.of('launch').flatMap(({ error }) => error ?? [])).toEqual([]);
      };
      await launch();
      const before = privateMemory();
      // As on other machines: what they take of this one's processors is not berthd's doing.
      const crowd = await Running.start(
        'nice',
        '--adjustment=19',
        process.execPath,
        '--import',
        loader,
        join(import.meta.dirname, 'helpers', 'read-many.ts'),
        daemon.socket,
        '1000',
      );
      expect(await crowd.line()).toBe('1000');
      await launch();
      await makeEvents(1500);
      // Those who read have all of it; what the others have not read is not kept for each.
      const memory = privateMemory() - before;
      const { cursor } = JSON.parse((await get(place(), '/v1/state')).body) as { cursor: string };
      while ((await crowd.line()) !== cursor);
      await crowd.stop('SIGKILL');
      expect(memory).toBeLessThan(64 * 1024);
      // When nobody looks any more, all of that is the node's again.
      await expect.poll(privateMemory, { timeout: 60_000, interval: 500 }).toBeLessThan(16 * 1024);
    },
  );

  it('who are too slow are let go with a word, and where to go on', { timeout: 120_000 }, async () => {
    const reader = await TestReader.open(place());
    reader.socket.pause();
    await makeEvents(4000);
    reader.socket.resume();
    await expect.poll(() => reader.end, { timeout: 60_000 }).toBeDefined();
    expect(reader.end).toMatchObject({
      code: 1013,
      reason: expect.stringMatching(/^too slow: .*since=[0-9a-f]{8}-\d+$/) as string,
    });
    const since = /since=(.*)$/.exec(reader.end?.reason ?? '')?.[1] ?? '';
    expect(reader.told.at(-1)?.cursor).toBe(since);
    const again = await TestReader.open(place(), since);
    await expect.poll(() => again.told.length).toBeGreaterThan(1);
    again.close();
    expect(again.told[1]).toMatchObject({ type: 'gap', reason: 'too-old' });
    const { body } = await get(place(), '/metrics');
    expect(Number(/^berth_event_readers_dropped_total (\d+)$/m.exec(body)?.[1])).toBeGreaterThan(0);
  });

  it('who ask for pongs and do not read them are let go', async () => {
    const reader = await TestReader.open(place());
    const before = privateMemory();
    reader.socket.pause();
    for (let i = 0; i < 20_000 && reader.socket.readyState === 1; i++) {
      reader.socket.ping('x'.repeat(125));
      if (i % 100 === 0) await sleep(1);
    }
    reader.socket.resume();
    await expect.poll(() => reader.end).toBeDefined();
    expect(privateMemory() - before).toBeLessThan(64 * 1024);
  });

  it('who say something are told that nobody listens', async () => {
    const talker = await TestReader.open(place());
    talker.socket.send('hello');
    await expect.poll(() => talker.end).toMatchObject({ code: 1008 });
    const shouter = await TestReader.open(place());
    shouter.socket.send('x'.repeat(100_000));
    await expect.poll(() => shouter.end).toMatchObject({ code: 1009 });
  });

  it('who are plain users are sixteen at most', async () => {
    const script = `
      const { WebSocket } = require(process.argv[2]);
      let opened = 0, refused = 0;
      for (let i = 0; i < 20; i++) {
        const socket = new WebSocket('ws+unix:' + process.argv[1] + ':/v1/events');
        socket.on('open', () => done(opened++)).on('unexpected-response', (_, { statusCode }) => done(refused += statusCode === 500 ? 0 : 1)).on('error', () => undefined);
      }
      let count = 0;
      const done = () => ++count === 20 && (console.log(opened, refused), process.exit(0));
      setTimeout(() => process.exit(1), 5000);`;
    const argv = ['--reuid=2002', '--regid=2002', '--clear-groups', process.execPath, '-e', script, daemon.socket];
    const { stdout } = spawnSync('setpriv', [...argv, join(projectRoot, 'node_modules', 'ws')], { encoding: 'utf8' });
    expect(stdout.trim()).toBe('16 4');
    await expect
      .poll(async () => /^berth_event_readers (\d+)$/m.exec((await get(place(), '/metrics')).body)?.[1])
      .toBe('0');
  });
});

describe('what is no request', () => {
  const requests = [
    'GET',
    'GET \r\n\r\n',
    'GET / HTTP/9.9\r\n\r\n',
    'GET http://[ HTTP/1.1\r\nHost: x\r\n\r\n',
    'GET //x/../.. HTTP/1.1\r\nHost: x\r\n\r\n',
    'GET /../../etc/passwd HTTP/1.1\r\nHost: x\r\n\r\n',
    'GET /%2e%2e/%2e%2e/etc/passwd HTTP/1.1\r\nHost: x\r\n\r\n',
    `GET /${'a'.repeat(20_000)} HTTP/1.1\r\nHost: x\r\n\r\n`,
    `GET / HTTP/1.1\r\nHost: x\r\n${'A: b\r\n'.repeat(5000)}\r\n`,
    'GET /v1/events HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n',
    'GET /v1/events HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: x\r\nSec-WebSocket-Version: 13\r\n\r\n',
    'GET /v1/events HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n',
    'GET /v1/health?max-age=-1 HTTP/1.1\r\nHost: x\r\n\r\n',
    'GET /v1/state HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n',
    'GET /v1/nothing HTTP/1.1\r\nHost: x\r\n\r\nGET /v1/state HTTP/1.1\r\nHost: x\r\n\r\n',
    'GET /v1/state HTTP/1.1\r\nHost: x\r\nOrigin: https://evil.example\r\n\r\n',
  ];

  /** What comes back until the connection ends, or nothing has come for a moment. */
  function send(bytes: Buffer | string): Promise<string> {
    return new Promise((resolve) => {
      let text = '';
      const socket = connect(daemon.socket, () => socket.write(bytes));
      socket.setEncoding('latin1').setTimeout(150, () => socket.destroy());
      socket.on('data', (chunk: string) => (text += chunk)).on('error', () => undefined);
      socket.on('close', () => {
        resolve(text);
      });
    });
  }

  it.each(requests)('%j is an error and nothing else', async (request) => {
    const answer = await send(request);
    if (answer !== '') expect(answer).toMatch(/^HTTP\/1\.1 (4\d\d) /);
    expect(answer).not.toMatch(/root:|at Object|node:internal/);
    expect((await get(place(), '/v1/state')).status).toBe(200);
  });

  it('of random bytes that begin like one is an error and nothing else', async () => {
    let state = 1;
    const random = (): number => (state = (state * 1_103_515_245 + 12_345) & 0x7fffffff) >> 8;
    for (let i = 0; i < 100; i++) {
      const bytes = Buffer.from(Array.from({ length: random() % 2000 }, () => random() % 256));
      const answer = await send(
        Buffer.concat([Buffer.from(i % 2 === 0 ? 'GET ' : 'GET /v1/events HTTP/1.1\r\nHost: x\r\n'), bytes]),
      );
      if (answer !== '') expect(answer).toMatch(/^HTTP\/1\.1 4/);
    }
    expect((await get(place(), '/v1/state')).status).toBe(200);
    expect(daemon.log).not.toContain('BERTH_INTERNAL');
  });

  it('that comes in pieces is put together', async () => {
    const socket = connect(daemon.socket);
    let text = '';
    socket.setEncoding('utf8').on('data', (chunk: string) => (text += chunk));
    for (const character of 'GET /v1/state HTTP/1.1\r\nHost: x\r\n\r\n') {
      socket.write(character);
      await sleep(2);
    }
    await expect.poll(() => text).toContain('"containers":[]');
  });
});

describe('berth events', () => {
  it('shows what there was, as text or as it came', async () => {
    await runStep(++job, NOBODY, 3);
    const ranks = new RegExp(`ranks      job ${job} step 1: 3 ranks in `);
    await expect.poll(() => berth('events').stdout).toMatch(ranks);
    const { status, stdout } = berth('events');
    expect(status).toBe(0);
    expect(stdout).toMatch(
      new RegExp(
        `^\\d\\d:\\d\\d:\\d\\d\\.\\d{3}  launch     job ${job} step 0, nobody, \\S+: built [0-9a-f]{12} in [\\d.]+ ms$`,
        'm',
      ),
    );
    const lines = berth('events', '--json').stdout.trim().split('\n');
    const told = lines.map((line) => JSON.parse(line) as Told);
    expect(told[0]?.type).toBe('hello');
    const since = berth('events', '--json', `--since=${told.at(-2)?.cursor ?? ''}`)
      .stdout.trim()
      .split('\n');
    expect(since.at(-1)).toBe(lines.at(-1));
    expect(since).toHaveLength(2);
  });

  it('follows over a restart of berthd, and says what it may have missed', { timeout: 30_000 }, async () => {
    const args = [cli, 'events', '--follow', '--json', '--socket', daemon.socket];
    const follower = await Running.start(process.execPath, ...args);
    expect(JSON.parse(await follower.line())).toMatchObject({ type: 'hello' });
    await daemon.end('SIGKILL');
    await daemon.start();
    expect(JSON.parse(await follower.line())).toMatchObject({ type: 'hello' });
    expect(JSON.parse(await follower.line())).toMatchObject({ type: 'gap', reason: 'restarted' });
    expect(JSON.parse(await follower.line())).toMatchObject({ type: 'daemon' });
    await follower.stop('SIGINT');
  });

  it('says what a cursor is', () => {
    const { status, stderr } = berth('events', '--since=yesterday');
    expect(status).toBe(2);
    expect(stderr).toContain('BERTH_EVENTS_CURSOR');
  });
});

describe('berth top', () => {
  it('is written once where nobody watches', async () => {
    await runStep(++job, NOBODY, 3);
    const { status, stdout } = berth('top');
    expect(status).toBe(0);
    expect(stdout).toMatch(/^\d+ containers {3}\d+ ranks {3}[\d.]+ launches\/s/m);
    expect(stdout).toMatch(/^image mount +[\d.]+ +[\d.]+ *$/m);
    expect(stdout).toContain(`job ${job} step 1, nobody`);
    expect(stdout).not.toContain('\u001b');
  });

  it.each(['q', '\u0003'])('takes the terminal until %j, draws what happens, and gives it back', async (key) => {
    const command = `stty rows 30 cols 100; ${process.execPath} ${cli} top --socket ${daemon.socket}; stty -a`;
    const watching = spawn('script', ['-qec', command, '/dev/null'], { env: { PATH: '/usr/bin:/bin', TERM: 'xterm' } });
    let shown = '';
    watching.stdout.setEncoding('utf8').on('data', (text: string) => (shown += text));
    await expect.poll(() => shown).toContain('\u001b[?1049h');
    await runStep(++job);
    await expect.poll(() => shown).toContain(`job ${job} step 1`);
    watching.stdin.write(key);
    await once(watching, 'close');
    expect(watching.exitCode).toBe(0);
    expect(shown).toContain('\u001b[?1049l');
    expect(shown.slice(shown.lastIndexOf('\u001b[?1049l'))).toMatch(/ icanon .* echo /s);
  });
});
