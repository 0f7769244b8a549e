import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync, statSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { frame, PROTOCOL, v1, version } from '../../src/protocol/index.js';
import { TestClient, TestDaemon } from './helpers/daemon.js';

const root = join(import.meta.dirname, '..', '..');

/** Asks as a plain user of the given number, in a process of theirs. */
function askAs(uid: number, socket: string, requests: readonly object[]): (v1.Reply | null)[] {
  const script = [join(root, 'node_modules', '.bin', 'tsx'), join(import.meta.dirname, 'helpers', 'ask-as.ts')];
  const id = String(uid);
  const text = execFileSync(
    'setpriv',
    [`--reuid=${id}`, `--regid=${id}`, '--clear-groups', ...script, socket, JSON.stringify(requests)],
    { encoding: 'utf8', env: { PATH: process.env['PATH'], HOME: '/', TSX_DISABLE_CACHE: '1' } },
  );
  return text
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line) as v1.Reply | null);
}

describe('berthd', () => {
  let daemon: TestDaemon;
  beforeEach(() => {
    daemon = new TestDaemon();
  });
  afterEach(async () => {
    await daemon.remove();
  });

  describe('starting', () => {
    it('says when it is ready and serves a socket that everybody may connect to', async () => {
      await daemon.start();
      expect(statSync(daemon.socket).mode & 0o777).toBe(0o666);
      const client = await TestClient.open(daemon.socket);
      expect((await client.ask({ list: {} }))?.list?.containers).toEqual([]);
    });

    it('refuses a runtime directory that another berthd serves', async () => {
      await daemon.start();
      const second = new TestDaemon();
      try {
        writeFileSync(second.config, `[daemon]\nruntime_directory = "${join(daemon.directory, 'run')}"\n`);
        second.spawn();
        const { status, stderr } = await second.end();
        expect(status).toBe(5);
        expect(stderr).toContain('BERTH_DAEMON_RUNNING');
        expect(stderr).toContain('hint:');
      } finally {
        await second.remove();
      }
      const client = await TestClient.open(daemon.socket);
      expect((await client.ask({ list: {} }))?.list).toBeDefined();
    });

    it('takes the place of one that was killed, whose socket is still there', async () => {
      await daemon.start();
      await daemon.end('SIGKILL');
      expect(statSync(daemon.socket).isSocket()).toBe(true);
      await daemon.start();
      const client = await TestClient.open(daemon.socket);
      expect((await client.ask({ list: {} }))?.list).toBeDefined();
    });

    it('shows every mistake of a configuration with its line, and does not start', async () => {
      daemon.writeConfig('compresion_level = 3\n[container]\nuserns = "maybe"\n');
      daemon.spawn();
      const { status, stderr } = await daemon.end();
      expect(status).toBe(2);
      expect(stderr).toContain('BERTH_CONFIG_INVALID');
      expect(stderr).toMatch(/berth\.toml:5: .*compresion_level/);
      expect(stderr).toMatch(/berth\.toml:7/);
      expect(stderr).not.toContain('at Object');
    });

    it('is for root alone', () => {
      const argv = ['--reuid=2002', '--regid=2002', '--clear-groups', process.execPath];
      try {
        execFileSync('setpriv', [...argv, join(root, 'build', 'lib', 'berthd.js')], { stdio: 'pipe' });
        expect.unreachable('berthd ran as a plain user');
      } catch (error) {
        expect(error).toMatchObject({ status: 4, stderr: expect.objectContaining({}) as unknown });
        expect(String((error as { stderr: Buffer }).stderr)).toContain('BERTH_NOT_PERMITTED');
      }
    });

    it('explains a wrong argument', () => {
      try {
        execFileSync(process.execPath, [join(root, 'build', 'lib', 'berthd.js'), '--conifg'], { stdio: 'pipe' });
        expect.unreachable('the argument was taken');
      } catch (error) {
        const stderr = String((error as { stderr: Buffer }).stderr);
        expect(stderr).toContain('BERTH_USAGE');
        expect(stderr).toContain('--conifg');
        expect(stderr).toContain('berthd --help');
      }
    });
  });

  describe('under systemd', () => {
    it('tells its service manager when it is ready (Type=notify)', async () => {
      const path = join(daemon.directory, 'notify');
      const receive =
        'use IO::Socket::UNIX; my $s = IO::Socket::UNIX->new(Type => SOCK_DGRAM, Local => $ARGV[0]) or die; ' +
        '$| = 1; print "listening\\n"; while (defined $s->recv(my $m, 4096)) { print "$m\\n" }';
      const manager = spawn('perl', ['-MSocket', '-e', receive, path]);
      let heard = '';
      manager.stdout.setEncoding('utf8').on('data', (text: string) => (heard += text));
      try {
        await once(manager.stdout, 'data');
        await daemon.start(undefined, { NOTIFY_SOCKET: path });
        await daemon.end('SIGTERM');
        await expect.poll(() => heard).toBe('listening\nREADY=1\nSTOPPING=1\n');
      } finally {
        manager.kill('SIGKILL');
      }
    });

    it('serves the socket that it is given (socket activation) and leaves it there', async () => {
      const listen =
        'use Socket; use POSIX; $^F = 9; socket(my $s, PF_UNIX, SOCK_STREAM, 0) or die; bind($s, pack_sockaddr_un($ARGV[0])) or die; ' +
        'listen($s, 8); POSIX::dup2(fileno($s), 3); $ENV{LISTEN_PID} = $$; $ENV{LISTEN_FDS} = 1; shift; exec @ARGV';
      await daemon.start(`exec perl -e '${listen}' ${daemon.socket} "$@"`);
      const before = statSync(daemon.socket).ino;
      const client = await TestClient.open(daemon.socket);
      expect((await client.ask({ list: {} }))?.list).toBeDefined();
      await daemon.end('SIGTERM');
      expect(statSync(daemon.socket).ino).toBe(before);
    });

    it('ends with status 0 at SIGTERM and SIGINT', async () => {
      for (const signal of ['SIGTERM', 'SIGINT'] as const) {
        await daemon.start();
        expect(await daemon.end(signal)).toMatchObject({ status: 0, signal: null });
      }
    });
  });

  describe('asked by', () => {
    const launch = { jobId: 7, stepId: 0, uid: 2001, gid: 2001, image: 'debian', nodeName: 'n1' };

    it.each([
      ['launch', { launch }],
      ['launch for a step', { launch: { ...launch, purpose: v1.Purpose.PURPOSE_STEP } }],
      ['prepare', { launch: { ...launch, purpose: v1.Purpose.PURPOSE_PREPARE } }],
      ['end a job', { jobEnd: { jobId: 7 } }],
      ['import an image', { import: { name: 'mine', sourceFd: 0, source: 'x' } }],
    ])('a plain user, refuses to %s', async (_what, request) => {
      await daemon.start();
      const [reply] = askAs(2002, daemon.socket, [request]);
      expect(reply?.error).toMatchObject({ code: 'BERTH_NOT_PERMITTED' });
      expect(reply?.error?.hint).not.toBe('');
    });

    it('a plain user, takes no descriptor that is not a pipe of theirs', async () => {
      daemon.writeConfig('import = "anyone"\n');
      await daemon.start();
      // Standard input is /dev/null, 99 is nothing.
      for (const sourceFd of [0, 99, 4294967295]) {
        const [reply] = askAs(2002, daemon.socket, [{ import: { name: 'mine', sourceFd, source: 'x' } }]);
        expect(reply?.error).toMatchObject({ code: 'BERTH_IMPORT_SOURCE' });
      }
    });

    it('a plain user, keeps no more than 64 connections of theirs open', async () => {
      await daemon.start();
      const many = `
        const net = require('node:net');
        const open = Array.from({ length: 80 }, () => net.connect(process.argv[1]));
        let closed = 0;
        for (const socket of open) socket.on('data', () => undefined).on('close', () => { closed++; }).on('error', () => undefined);
        setTimeout(() => { console.log(closed); process.exit(0); }, 1500);`;
      const user = ['--reuid=2002', '--regid=2002', '--clear-groups', process.execPath, '-e', many, daemon.socket];
      expect(execFileSync('setpriv', user, { encoding: 'utf8' }).trim()).toBe('16');
      const client = await TestClient.open(daemon.socket);
      expect((await client.ask({ list: {} }))?.list).toBeDefined();
    });

    it('a plain user, keeps requests and replies that wait out of its memory', async () => {
      await daemon.start();
      const memory = () => Number(/^VmRSS:\s+(\d+)/m.exec(readFileSync(`/proc/${daemon.pid}/status`, 'utf8'))?.[1]);
      const before = memory();
      const request = frame(v1.Request.encode({ protocol: PROTOCOL, version, images: {} }).finish());
      // Asks without an end and reads nothing.
      const flood = `
        const net = require('node:net');
        const requests = Buffer.concat(Array(4000).fill(Buffer.from(process.argv[2], 'hex')));
        for (let i = 0; i < 8; i++) {
          const socket = net.connect(process.argv[1], () => ask()).on('error', () => undefined);
          const ask = () => socket.write(requests, (error) => error || ask());
        }
        setTimeout(() => process.exit(0), 3000);`;
      const user = ['--reuid=2002', '--regid=2002', '--clear-groups', process.execPath, '-e', flood, daemon.socket];
      execFileSync('setpriv', [...user, request.toString('hex')]);
      // It was a gigabyte when they were read as fast as they came.
      expect(memory() - before).toBeLessThan(64 * 1024);
    });

    it('root about an image that is not there, says what to do', async () => {
      daemon.writeConfig('pull_at_launch = false\n');
      await daemon.start();
      const client = await TestClient.open(daemon.socket);
      const reply = await client.ask({ launch });
      expect(reply?.error).toMatchObject({ code: 'BERTH_IMAGE_UNKNOWN', exitStatus: 3 });
      expect(daemon.log).toContain('"job":7');
      expect(daemon.log).toContain('"code":"BERTH_IMAGE_UNKNOWN"');
    });

    it.each([
      ['no job', { jobId: 0 }],
      ['no image', { image: '' }],
      ['a relative spool directory', { spoolDir: 'spool' }],
      ['a spool directory with ..', { spoolDir: '/var/../etc' }],
    ])('root with %s, refuses', async (_what, change) => {
      await daemon.start();
      const client = await TestClient.open(daemon.socket);
      const reply = await client.ask({ launch: { ...launch, ...change } });
      expect(reply?.error).toMatchObject({ code: 'BERTH_PROTOCOL_FRAME' });
    });
  });

  describe('hearing', () => {
    it('another protocol version, says both in one error', async () => {
      await daemon.start();
      const client = await TestClient.open(daemon.socket);
      client.socket.write(frame(v1.Request.encode({ protocol: PROTOCOL + 1, version: '9.9.9', list: {} }).finish()));
      const error = (await client.reply())?.error;
      expect(error).toMatchObject({ code: 'BERTH_PROTOCOL_VERSION' });
      expect(error?.why).toContain('9.9.9');
      expect(error?.why).toContain(version);
      await client.closed;
    });

    it.each([
      ['a frame beyond the limit', Buffer.from([0x7f, 0xff, 0xff, 0xff])],
      ['bytes that are no message', frame(Buffer.from([0xff, 0xff, 0xff, 0xff, 0xff]))],
    ])('%s, says so and hangs up', async (_what, bytes) => {
      await daemon.start();
      const client = await TestClient.open(daemon.socket);
      client.socket.write(bytes);
      expect((await client.reply())?.error).toMatchObject({ code: 'BERTH_PROTOCOL_FRAME' });
      await client.closed;
      const next = await TestClient.open(daemon.socket);
      expect((await next.ask({ list: {} }))?.list).toBeDefined();
    });

    it('random bytes from many clients, goes on serving', async () => {
      await daemon.start();
      for (let i = 0; i < 200; i++) {
        const socket = connect(daemon.socket);
        await once(socket, 'connect');
        const body = Buffer.from(Array.from({ length: i }, (_, at) => (at * 31 + i * 17) % 256));
        const closed = new Promise((resolve) => socket.on('error', () => undefined).once('close', resolve));
        // What begins with a capital letter is answered as HTTP is, and the other bytes by a frame.
        socket.resume().end(i % 2 === 0 ? frame(body) : body);
        await closed;
      }
      const client = await TestClient.open(daemon.socket);
      expect((await client.ask({ list: {} }))?.list).toBeDefined();
      expect(daemon.log).not.toContain('BERTH_INTERNAL');
    });
  });
});
