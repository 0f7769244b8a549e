import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { hostname, tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest';
import { parseCommand } from '../../src/cli/arguments.js';
import { explain } from '../../src/cli/commands/explain.js';
import { commands } from '../../src/cli/commands/index.js';
import { commandManual } from '../../src/cli/help.js';
import { BerthError } from '../../src/errors/index.js';
import { encodeError, encodeReply, v1, version } from '../../src/protocol/index.js';
import { answeringAt, berth, type Result } from './cli-tools.js';

let directory: string;
let socket: string;

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'berth-cli-'));
  socket = join(directory, 'berthd.sock');
});

afterEach(() => {
  rmSync(directory, { recursive: true, force: true });
});

/** Answers one request of a command as berthd would, and tells what it was. */
const answering = (reply: Uint8Array, use: () => Promise<Result>): ReturnType<typeof answeringAt> =>
  answeringAt(socket, reply, use);

describe('help', () => {
  it('lists every command, with a line of what it does', async () => {
    const { status, stdout } = await berth(['help']);
    expect(status).toBe(0);
    for (const { name, summary } of commands) expect(stdout).toMatch(new RegExp(`^    ${name} +${summary}$`, 'm'));
    expect(commands.map(({ name }) => name).join(' ')).toBe(
      'run ps exec logs stop wait explain env modules images pull build import export migrate inspect tag share rmi verify gc login logout health top events metrics token config version help',
    );
  });

  it('shows nothing that only Berth itself calls', async () => {
    const { stdout } = await berth(['health', '--help']);
    expect(stdout).toContain('--slurm');
    expect(stdout).not.toContain('--daemon-dead');
  });

  it.each(commands.map(({ name }) => name))(
    'of %s is a manual page within 80 columns, the same from --help, -h and help',
    async (name) => {
      const { status, stdout } = await berth([name, '--help']);
      expect(status).toBe(0);
      const sections = stdout.split('\n').filter((line) => /^[A-Z]/.test(line));
      expect(sections).toEqual([
        'NAME',
        'SYNOPSIS',
        'DESCRIPTION',
        'OPTIONS',
        'EXAMPLES',
        'EXIT STATUS',
        'ENVIRONMENT',
      ]);
      expect(stdout.split('\n').filter((line) => line.length > 80 && !line.includes('| jq'))).toEqual([]);
      expect(await berth([name, '-h'])).toEqual({ status, stdout, stderr: '' });
      expect(await berth(['help', name])).toEqual({ status, stdout, stderr: '' });
      expect(await berth(['--help', name])).toEqual({ status, stdout, stderr: '' });
    },
  );

  it.each(commands)('of $name has one line for each exit status', ({ name }) => {
    const command = commands.find((one) => one.name === name);
    const section = command && commandManual(command).sections.find(({ title }) => title === 'EXIT STATUS');
    const statuses = section?.entries.map((entry) => (typeof entry === 'string' ? entry : entry.term)) ?? [];
    expect(statuses[0]).toBe('0');
    expect(new Set(statuses).size).toBe(statuses.length);
  });

  it('is shown, as an error, to who gives no command', async () => {
    const { status, stdout, stderr } = await berth([]);
    expect({ status, stdout }).toEqual({ status: 2, stdout: '' });
    expect(stderr).toContain('COMMANDS');
  });
});

describe('a wrong command line', () => {
  it.each([
    [['pss'], 'berth has no command pss', 'did you mean berth ps?'],
    [
      ['frobnicate'],
      'berth has no command frobnicate',
      `its commands are ${commands.map(({ name }) => name).join(', ')}`,
    ],
    [['ps', '--jsno'], 'berth ps has no option --jsno', 'did you mean --json?'],
    [['ps', '-x'], 'berth ps has no option -x', 'its options are --timeline, --json, --socket, --help'],
    [['--sokcet=/x', 'ps'], 'berth has no option --sokcet', 'did you mean --socket?'],
    [['ps', '--socket'], 'berth ps was called wrongly', "Option '--socket <value>' argument missing"],
    [
      ['gc', '--layer-cache', '-1'],
      'berth gc was called wrongly',
      '--layer-cache lacks its value; one that begins with a dash is written --layer-cache=-…',
    ],
    [['ps', '--json=yes'], 'berth ps was called wrongly', "Option '--json' does not take an argument"],
    [['ps', 'x'], 'berth ps cannot take x too', 'it takes no arguments'],
    [['import', 'x'], 'berth import needs NAME and SOURCE', 'SOURCE is missing'],
    [['import', 'x', 'y', 'z'], 'berth import cannot take z too', 'it takes NAME SOURCE'],
    [['config', 'shwo'], 'berth config cannot shwo', 'did you mean berth config show?'],
    [['help', 'imort'], 'berth has no command imort', 'did you mean berth import?'],
  ])('%j is told what is wrong', async (argv, what, why) => {
    const [first = ''] = argv;
    const command = argv.length > 1 && first !== 'help' && !first.startsWith('-') ? first : 'COMMAND';
    expect(await berth(argv)).toEqual({
      status: 2,
      stdout: '',
      stderr: `berth: BERTH_USAGE: ${what}\nberth:   why: ${why}\nberth:   hint: berth ${command} --help shows how it is called\n`,
    });
  });
});

describe('berthd', () => {
  it.each([
    [
      'never started',
      () => undefined,
      'the socket does not exist: berthd does not run here, or keeps its socket elsewhere',
    ],
    ['gone', () => leaveSocket(), 'the socket is there, but no berthd listens on it'],
  ])('%s: the error says so', async (_, prepare, why) => {
    await prepare();
    const { status, stderr } = await berth(['--socket', socket, 'ps']);
    expect(status).toBe(5);
    expect(stderr).toContain(
      `berth: BERTH_DAEMON_UNREACHABLE: berthd does not answer on ${socket} on ${hostname()}\nberth:   why: ${why}\n`,
    );
  });

  it('is looked for under --socket, then BERTH_SOCKET, then the default path', async () => {
    const asked = async (argv: string[], env = {}): Promise<string> =>
      / on (\S+) on /.exec((await berth(argv, env)).stderr)?.[1] ?? '';
    const env = { BERTH_SOCKET: join(directory, 'b') };
    expect(await asked(['ps', '--socket', join(directory, 'c')], env)).toBe(join(directory, 'c'));
    expect(await asked(['--socket', join(directory, 'a'), 'ps'], env)).toBe(join(directory, 'a'));
    expect(await asked(['ps'], env)).toBe(join(directory, 'b'));
    expect((await berth(['ps', '--help'])).stdout).toContain('/run/berth/berthd.sock');
  });

  it('answers with an error: it is shown as it came, with its exit status', async () => {
    const error = new BerthError('BERTH_STORE_UNUSABLE', { path: '/images', why: 'it went away' });
    const { status, stdout, stderr } = await answering(encodeError(error), () =>
      berth(['images'], { BERTH_SOCKET: socket }),
    );
    expect({ status, stdout }).toEqual({ status: 6, stdout: '' });
    expect(stderr).toContain(
      'berth: BERTH_STORE_UNUSABLE: the image store /images cannot be used\nberth:   why: it went away\n',
    );
  });

  it('of another version is told apart from a failure', async () => {
    const reply = v1.Reply.encode({ protocol: 99, version: '9.9' }).finish();
    const { status, stderr } = await answering(reply, () => berth(['ps'], { BERTH_SOCKET: socket }));
    expect(status).toBe(5);
    expect(stderr).toContain(
      `the client is version ${version} (protocol 1), berthd on ${hostname()} is version 9.9 (protocol 99)`,
    );
  });

  it('ends the connection without an answer: no waiting', async () => {
    const server = createServer((connection) => connection.destroy());
    server.listen(socket);
    await once(server, 'listening');
    const { status, stderr } = await berth(['--socket', socket, 'ps']);
    server.close();
    expect(status).toBe(5);
    expect(stderr).toContain('BERTH_DAEMON_UNREACHABLE');
  });

  async function leaveSocket(): Promise<void> {
    const code = `require('net').createServer().listen(${JSON.stringify(socket)}, () => process.kill(process.pid, 'SIGKILL'))`;
    await once(spawn(process.execPath, ['-e', code]), 'exit');
  }
});

describe('berth ps', () => {
  // Ages are counted from here, however long the tests take.
  const now = Math.floor(Date.now() / 1000);
  beforeAll(() => {
    vi.useFakeTimers({ toFake: ['Date'], now: now * 1000 });
  });
  afterAll(() => {
    vi.useRealTimers();
  });
  const list = {
    nodeName: 'n1',
    others: 2,
    containers: [
      {
        id: '0123456789abcdef0123456789abcdef',
        jobId: 17,
        uid: 1000,
        user: 'ada',
        image: 'lammps:2024',
        digest: 'sha256:00',
        created: now - 7200,
        ranks: 32,
        userNamespace: true,
        launches: [
          {
            stepId: 0xfffffffb,
            started: now - 60,
            cold: true,
            phases: [
              { name: 'resolve', startUs: 0, durationUs: 250 },
              { name: 'build', startUs: 250, durationUs: 2500 },
            ],
            ranks: [
              { rank: 0, waitUs: 3000, joinUs: 10 },
              { rank: 1, waitUs: 1000, joinUs: 30 },
              { rank: 2, waitUs: 2000, joinUs: 40 },
              { rank: 3, waitUs: 9000, joinUs: 20 },
            ],
          },
        ],
      },
      { id: 'fedcba98', jobId: 4711, user: 'ada\x1b[2J', image: 'x:latest', created: now - 5, ranks: 1 },
    ],
  };

  it("shows aligned columns, with nothing in them that steers a terminal, and counts other users' containers", async () => {
    const { status, stdout } = await answering(encodeReply({ list }), () => berth(['ps'], { BERTH_SOCKET: socket }));
    expect(status).toBe(0);
    expect(stdout).toBe(
      [
        'CONTAINER      JOB  USER          IMAGE        RANKS  AGE',
        '0123456789ab    17  ada           lammps:2024     32  2 h',
        'fedcba98      4711  ada\\u{1b}[2J  x:latest         1  5 s',
        'and 2 of other users',
        '',
      ].join('\n'),
    );
  });

  it('asks for the timeline only when it is wanted, and shows phases and ranks in milliseconds', async () => {
    const reply = encodeReply({ list: { containers: list.containers.slice(0, 1) } });
    const plain = await answering(reply, () => berth(['ps'], { BERTH_SOCKET: socket }));
    expect(plain.request?.list?.timeline).toBe(false);
    const { request, stdout } = await answering(reply, () => berth(['ps', '--timeline'], { BERTH_SOCKET: socket }));
    expect(request?.list?.timeline).toBe(true);
    expect(stdout.split('\n').slice(3)).toEqual([
      '0123456789ab  batch, built the container, 60 s ago',
      '    PHASE    START MS  DURATION MS',
      '    resolve      0.00         0.25',
      '    build        0.25         2.50',
      '    4 RANKS  MIN MS  MEDIAN MS  MAX MS',
      '    wait       1.00       2.50    9.00',
      '    join       0.01       0.03    0.04',
      '',
    ]);
  });

  it('writes JSON with the same content', async () => {
    const { stdout } = await answering(encodeReply({ list }), () => berth(['ps', '--json'], { BERTH_SOCKET: socket }));
    expect(JSON.parse(stdout)).toMatchObject({
      node: 'n1',
      others: 2,
      containers: [
        {
          id: '0123456789abcdef0123456789abcdef',
          job: 17,
          launches: [{ cold: true, phases: [{ name: 'resolve', startUs: 0, durationUs: 250 }, {}] }],
        },
        { user: 'ada\x1b[2J', launches: [] },
      ],
    });
  });

  it('colours its titles on a terminal, and not with NO_COLOR or TERM=dumb', async () => {
    const titles = async (env: Record<string, string>): Promise<string> =>
      (
        await answering(encodeReply({ list }), () => berth(['ps'], { BERTH_SOCKET: socket, ...env }, true))
      ).stdout.split('\n')[0] ?? '';
    expect(await titles({})).toMatch(/^\x1b\[1mCONTAINER .*\x1b\[22m$/);
    expect(await titles({ NO_COLOR: '' })).toContain('\x1b');
    expect(await titles({ NO_COLOR: '1' })).toMatch(/^CONTAINER/);
    expect(await titles({ TERM: 'dumb' })).toMatch(/^CONTAINER/);
  });
});

describe('berth config', () => {
  let file: string;
  beforeEach(() => {
    file = join(directory, 'berth.toml');
  });

  it("check tells every problem and ends with the table's status", async () => {
    writeFileSync(file, '[store]\npath = 1\nimport = 2\n', { mode: 0o600 });
    const { status, stderr } = await berth(['config', 'check', file]);
    expect(status).toBe(2);
    expect(stderr.match(/BERTH_CONFIG_INVALID: \S+:\d+: .*/g)).toEqual([
      `BERTH_CONFIG_INVALID: ${file}:2: [store] path is 1`,
      `BERTH_CONFIG_INVALID: ${file}:3: [store] import is 2`,
    ]);
    const { stdout } = await berth(['config', 'check', '--json', file]);
    expect((JSON.parse(stdout) as { problems: unknown[] }).problems).toHaveLength(2);
    expect(stderr).not.toContain('berth config check');
  });

  it('check names the sources of mounts that this node has not: with one missing, no container can be built', async () => {
    writeFileSync(file, `[container]\nmounts = ["${directory}", "${directory}/missing:/data"]\n`, { mode: 0o600 });
    const { status, stderr } = await berth(['config', 'check', file]);
    expect(status).toBe(0);
    expect(stderr.match(/mounts: \S+ is not there/g)).toEqual([`mounts: ${directory}/missing is not there`]);
    const { stdout } = await berth(['config', 'check', '--json', file]);
    expect(JSON.parse(stdout)).toEqual({ problems: [], missingMountSources: [`${directory}/missing`] });
  });

  it('check says that a file is right', async () => {
    writeFileSync(file, '', { mode: 0o600 });
    expect(await berth(['config', 'check', file])).toEqual({ status: 0, stdout: `${file}: no errors\n`, stderr: '' });
  });

  it('show gives every value with where it comes from, as a configuration that gives the same values', async () => {
    writeFileSync(file, '[container]\n\nmounts = ["/a:/b:ro"]\n', { mode: 0o600 });
    const { stdout } = await berth(['config', 'show', file]);
    expect(stdout).toMatch(new RegExp(`^mounts = \\["/a:/b:ro"\\] +# ${file}:3$`, 'm'));
    expect(stdout).toMatch(/^home = true +# default$/m);
    writeFileSync(file, stdout);
    expect(await berth(['config', 'check', file])).toMatchObject({ status: 0 });
    const again = JSON.parse((await berth(['config', 'show', '--json', file])).stdout) as Record<
      string,
      Record<string, { value: unknown }>
    >;
    expect(again['container']?.['mounts']?.value).toEqual([{ source: '/a', destination: '/b', readOnly: true }]);
  });
});

describe('berth version', () => {
  it("shows this version and the daemon's, and does not fail without one", async () => {
    const reply = encodeReply({ list: {} });
    const { stdout } = await answering(reply, () => berth(['version'], { BERTH_SOCKET: socket }));
    expect(stdout).toBe(`berth   ${version} (protocol 1)\nberthd  ${version}\n`);
    expect(await berth(['--version'], { BERTH_SOCKET: join(directory, 'none') })).toEqual({
      status: 0,
      stdout: `berth   ${version} (protocol 1)\nberthd  does not answer on this node\n`,
      stderr: '',
    });
  });
});

describe('as a process, berth', () => {
  const project = join(import.meta.dirname, '../..');
  const commandLine = ['--import', join(project, 'node_modules/tsx/dist/loader.mjs'), join(project, 'src/cli/main.ts')];

  it('ends quietly when its reader has seen enough', async () => {
    const child = spawn(process.execPath, [...commandLine, 'help', 'import'], { stdio: ['ignore', 'pipe', 'pipe'] });
    child.stdout.destroy();
    let stderr = '';
    child.stderr.on('data', (chunk: Buffer) => (stderr += chunk.toString()));
    const [status] = (await once(child, 'close')) as [number];
    expect({ status, stderr }).toEqual({ status: 0, stderr: '' });
  });

  it('fails when its output could not be written', async () => {
    const child = spawn('/bin/sh', ['-c', 'exec "$@" > /dev/full', 'sh', process.execPath, ...commandLine, 'help'], {
      stdio: ['ignore', 'ignore', 'pipe'],
    });
    let stderr = '';
    child.stderr.on('data', (chunk: Buffer) => (stderr += chunk.toString()));
    const [status] = (await once(child, 'close')) as [number];
    expect(status).toBe(1);
    expect(stderr).toMatch(/^berth: the output could not be written: ENOSPC/);
  });
});

describe('An option whose value may be left out', () => {
  it.each([
    ['--container-writable', ''],
    ['--container-writable=2G', '2G'],
  ])('is read as %s, as srun does', (option, value) => {
    const { values, operands } = parseCommand(explain, [option, 'debian']);
    expect({ value: values['container-writable'], operands }).toEqual({ value, operands: ['debian'] });
  });
});
