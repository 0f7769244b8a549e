// Metrics, and what berthd serves over TCP: to whom, and to whom not.
import { execFileSync, spawnSync, type SpawnSyncReturns } from 'node:child_process';
import { chmodSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { TestDaemon } from './helpers/daemon.js';
import { projectRoot } from './helpers/programs.js';
import { bearing, freePort, get, TestReader, type Place } from './helpers/web.js';

const TOKEN = '0123456789abcdef'.repeat(4);
const FRIEND = 'https://n2.cluster:9443';

let scratch: string;
let plain: TestDaemon;
let secure: TestDaemon;
let overTcp: Place;
let overTls: Place;

beforeAll(async () => {
  scratch = mkdtempSync(join(tmpdir(), 'berth-web-'));
  const at = (name: string): string => join(scratch, name);
  writeFileSync(at('token'), `${TOKEN}\n`, { mode: 0o600 });
  const subject = ['-subj', '/CN=localhost', '-addext', 'subjectAltName=DNS:localhost,IP:127.0.0.1'];
  const key = [
    '-newkey',
    'ec',
    '-pkeyopt',
    'ec_paramgen_curve:prime256v1',
    '-nodes',
    '-keyout',
    at('key'),
    '-out',
    at('cert'),
  ];
  execFileSync('openssl', ['req', '-x509', ...key, ...subject, '-days', '2'], { stdio: 'pipe' });
  const [first, second] = [await freePort(), await freePort()];
  const events = (port: number): string =>
    `[events]\nlisten = "127.0.0.1:${port}"\ntoken_file = "${at('token')}"\norigins = ["${FRIEND}"]\nnames = ["n1.cluster"]\n`;
  plain = new TestDaemon(events(first));
  secure = new TestDaemon(`${events(second)}tls_cert = "${at('cert')}"\ntls_key = "${at('key')}"\n`);
  await Promise.all([plain.start(), secure.start()]);
  overTcp = { port: first };
  overTls = { port: second, ca: readFileSync(at('cert')) };
});

afterAll(async () => {
  await plain.remove();
  await secure.remove();
  rmSync(scratch, { recursive: true });
});

/** `berth token` of a user. */
function askForToken(uid: number, { socket }: TestDaemon): SpawnSyncReturns<string> {
  const identity = [`--reuid=${uid}`, `--regid=${uid}`, '--clear-groups'];
  const cli = join(projectRoot, 'build', 'lib', 'cli.js');
  return spawnSync('setpriv', [...identity, process.execPath, cli, 'token', '--socket', socket], { encoding: 'utf8' });
}

/** What `berth token` gives a user. */
const tokenOf = (uid: number): string => askForToken(uid, plain).stdout.trim();

describe('metrics', () => {
  it('are the same from the socket, over TCP and from berth metrics, and what Prometheus takes', async () => {
    await get({ socketPath: plain.socket }, '/v1/health?max-age=0');
    const local = await get({ socketPath: plain.socket }, '/metrics');
    const { status, headers, body } = await get(overTcp, '/metrics', bearing(TOKEN));
    expect(status).toBe(200);
    expect(headers['content-type']).toBe('text/plain; version=0.0.4; charset=utf-8');
    const names = (text: string): string[] => text.split('\n').flatMap((line) => /^# TYPE (\S+)/.exec(line)?.[1] ?? []);
    expect(names(local.body)).toEqual(names(body));
    const cli = execFileSync(
      process.execPath,
      [join(projectRoot, 'build', 'lib', 'cli.js'), 'metrics', '--socket', plain.socket],
      { encoding: 'utf8' },
    );
    expect(names(cli)).toEqual(names(body));
    expect(execFileSync('promtool', ['check', 'metrics'], { input: body, encoding: 'utf8', stdio: 'pipe' })).toBe('');
    for (const name of [
      'berth_containers',
      'berth_ranks',
      'berth_store_images',
      'berth_health_status',
      'process_cpu_seconds_total',
    ])
      expect(names(body)).toContain(name);
  });
});

describe('over TCP', () => {
  const paths = ['/metrics', '/v1/state', '/v1/images', '/v1/health', '/v1/nodes', '/v1/token', '/v1/nothing'];

  it.each(paths)('%s has nothing for whoever has no token', async (path) => {
    for (const options of [
      {},
      bearing('x'.repeat(64)),
      bearing(`berth1.0.9999999999.${'A'.repeat(43)}`),
      { headers: { authorization: TOKEN } },
    ]) {
      const { status, headers, body } = await get(overTcp, path, options);
      expect(status).toBe(401);
      expect(headers['www-authenticate']).toBe('Bearer realm="berth"');
      expect(JSON.parse(body)).toMatchObject({
        v: 1,
        error: { code: 'BERTH_EVENTS_TOKEN', hint: expect.stringContaining('berth token') as string },
      });
    }
  });

  it('the stream has nothing for whoever has no token, and takes one beside its protocol', async () => {
    expect(await TestReader.open(overTcp, 'oldest')).toMatchObject({ refused: 401, told: [] });
    expect(await TestReader.open(overTcp, 'oldest', { token: 'x'.repeat(64) })).toMatchObject({ refused: 401 });
    const reader = await TestReader.open(overTcp, 'oldest', { token: TOKEN });
    await expect.poll(() => reader.told.length).toBeGreaterThan(1);
    expect(reader.socket.protocol).toBe('berth.v1');
    expect(reader.told[0]).toMatchObject({ type: 'hello', uid: 0 });
    reader.close();
  });

  it("a user's own token shows what is theirs, and gives no other", async () => {
    const token = tokenOf(65_534);
    expect(JSON.parse((await get(overTcp, '/v1/state', bearing(token))).body)).toMatchObject({
      uid: 65_534,
      containers: [],
    });
    const reader = await TestReader.open(overTcp, 'now', { token });
    expect(reader.told[0] ?? (await expect.poll(() => reader.told[0]).toBeDefined(), reader.told[0])).toMatchObject({
      uid: 65_534,
    });
    reader.close();
    expect((await get(overTcp, '/v1/token', bearing(token))).status).toBe(404);
    expect((await get(overTls, '/v1/state', bearing(token))).status).toBe(200);
  });

  it('a name that is not ours is refused (DNS rebinding), token or not', async () => {
    for (const host of ['evil.example', '127.0.0.1.evil.example:1']) {
      const options = { headers: { ...bearing(TOKEN).headers, host } };
      for (const path of ['/', '/v1/state'])
        expect((await get(overTcp, path, options)).status).toBeGreaterThanOrEqual(400);
    }
    expect(await TestReader.open(overTcp, 'now', { token: TOKEN, headers: { host: 'evil.example' } })).toMatchObject({
      refused: 421,
    });
    expect(
      (await get(overTcp, '/v1/state', { headers: { ...bearing(TOKEN).headers, host: 'n1.cluster:9443' } })).status,
    ).toBe(200);
  });

  it('pages of others are refused, and may read nothing; those that the site names may', async () => {
    const from = (origin: string) => ({ headers: { ...bearing(TOKEN).headers, origin } });
    for (const origin of ['https://evil.example', 'null', 'http://n2.cluster:9443']) {
      const { status, headers } = await get(overTcp, '/v1/state', from(origin));
      expect(status).toBe(403);
      expect(headers['access-control-allow-origin']).toBeUndefined();
      expect(await TestReader.open(overTcp, 'now', { token: TOKEN, origin })).toMatchObject({ refused: 403 });
    }
    const allowed = await get(overTcp, '/v1/state', from(FRIEND));
    expect(allowed.status).toBe(200);
    expect(allowed.headers['access-control-allow-origin']).toBe(FRIEND);
    const preflight = await get(overTcp, '/v1/state', { method: 'OPTIONS', headers: { origin: FRIEND } });
    expect(preflight.status).toBe(204);
    expect(preflight.headers).toMatchObject({
      'access-control-allow-origin': FRIEND,
      'access-control-allow-headers': 'Authorization',
    });
    expect(
      (await get(overTcp, '/v1/state', { method: 'OPTIONS', headers: { origin: 'https://evil.example' } })).status,
    ).toBe(403);
  });

  it.each(['POST', 'PUT', 'DELETE', 'PATCH', 'TRACE'])('%s is not answered', async (method) => {
    const { status, headers } = await get(overTcp, '/v1/state', { method, ...bearing(TOKEN) });
    expect(status).toBe(405);
    expect(headers.allow).toBe('GET, HEAD, OPTIONS');
    expect((await get({ socketPath: plain.socket }, '/v1/state', { method })).status).toBe(405);
  });

  it("HEAD is answered as GET is, without what it would have, also on berthd's own socket", async () => {
    for (const place of [overTcp, { socketPath: plain.socket }]) {
      const options = { method: 'HEAD', ...bearing(TOKEN) };
      expect(await get(place, '/v1/state', options)).toMatchObject({ status: 200, body: '' });
    }
  });

  // What curl --http2 sends; an OpenSSL client; a list with the one that there is; and anything else.
  it.each(['h2c', 'TLS/1.0', 'websocket, h2c', 'x'])('an upgrade to %s is left alone', async (protocol) => {
    const upgrade = { connection: 'Upgrade, HTTP2-Settings', upgrade: protocol, 'http2-settings': 'AAMAAABkAAQAoAAA' };
    const asking = (path: string, options: { method?: string; headers?: Record<string, string> } = bearing(TOKEN)) =>
      get(overTcp, path, { ...options, headers: { ...options.headers, ...upgrade } });
    const page = await asking('/', {});
    expect(page).toMatchObject({
      status: 200,
      headers: { 'content-type': expect.stringContaining('text/html') as string },
    });
    expect(page.body).toBe((await get(overTcp, '/')).body);
    expect(page.headers['content-security-policy']).toBe((await get(overTcp, '/')).headers['content-security-policy']);
    expect(JSON.parse((await asking('/v1/state')).body)).toMatchObject({ uid: 0 });
    expect((await asking('/v1/state', {})).status).toBe(401);
    expect((await asking('/v1/nothing')).status).toBe(404);
    expect((await asking('/v1/events')).status).toBe(426);
    expect(await asking('/v1/state', { method: 'HEAD', ...bearing(TOKEN) })).toMatchObject({ status: 200, body: '' });
    expect((await asking('/v1/state', { method: 'POST', ...bearing(TOKEN) })).status).toBe(405);
    expect((await asking('/', { headers: { host: 'evil.example' } })).status).toBe(421);
  });

  it('a real client that would rather speak HTTP/2 gets the page', () => {
    const url = `http://127.0.0.1:${(overTcp as { port: number }).port}/`;
    const page = execFileSync('curl', ['--silent', '--show-error', '--fail', '--http2', url], { encoding: 'utf8' });
    expect(page).toContain('<!doctype html>');
  });

  it('a WebSocket elsewhere than at the stream is refused, as all else is', async () => {
    const upgrade = { connection: 'Upgrade', upgrade: 'WebSocket', 'sec-websocket-version': '13' };
    const headers = { ...bearing(TOKEN).headers, ...upgrade, 'sec-websocket-key': 'AAAAAAAAAAAAAAAAAAAAAA==' };
    const { status, headers: answered, body } = await get(overTcp, '/v1/state', { headers });
    expect(status).toBe(404);
    expect(answered).toMatchObject({ connection: 'close', 'x-content-type-options': 'nosniff' });
    expect(JSON.parse(body)).toMatchObject({ error: { code: 'BERTH_EVENTS_REQUEST' } });
  });

  it('a connection is one request, whatever comes with it', async () => {
    const socket = connect('port' in overTcp ? overTcp.port : 0, '127.0.0.1');
    let text = '';
    socket.setEncoding('utf8').on('data', (more: string) => (text += more));
    const request = `GET /v1/images HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer ${TOKEN}\r\n\r\n`;
    socket.write(request.repeat(400));
    await new Promise((resolve) => socket.once('close', resolve).on('error', () => undefined));
    expect(text.match(/^HTTP\/1\.1 /gm)).toHaveLength(1);
    expect(text).toMatch(/^HTTP\/1\.1 200 OK\r\n/);
    // Node says so where each of them was begun.
    expect(plain.log).not.toContain('Warning');
  });

  it.each(['h2c', 'websocket'])('an upgrade to %s behind another request is not begun', async (protocol) => {
    const from = `Host: localhost\r\nAuthorization: Bearer ${TOKEN}\r\n`;
    const upgrade = `GET /v1/nothing HTTP/1.1\r\n${from}Connection: Upgrade\r\nUpgrade: ${protocol}\r\n\r\n`;
    const socket = connect((overTcp as { port: number }).port, '127.0.0.1');
    const closed = new Promise((resolve) => socket.once('close', resolve).on('error', () => undefined));
    let text = '';
    socket.setEncoding('utf8').on('data', (more: string) => (text += more));
    socket.write(`GET /metrics HTTP/1.1\r\n${from}\r\n${upgrade}`);
    await closed;
    expect(text).not.toContain('404');
    // berthd has outlived it.
    expect((await get(overTcp, '/v1/state', bearing(TOKEN))).status).toBe(200);
    expect(plain.log).not.toContain('ERR_HTTP');
  });

  it('what comes behind an upgrade that is left alone is read, and much of it ends the connection', async () => {
    const answered = async (behind: number): Promise<string> => {
      const socket = connect((overTcp as { port: number }).port, '127.0.0.1');
      const closed = new Promise((resolve) => socket.once('close', resolve).on('error', () => undefined));
      let text = '';
      socket.setEncoding('utf8').on('data', (more: string) => (text += more));
      const from = `Host: localhost\r\nAuthorization: Bearer ${TOKEN}\r\n`;
      socket.write(`GET /v1/health?max-age=0 HTTP/1.1\r\n${from}Connection: Upgrade\r\nUpgrade: h2c\r\n\r\n`);
      socket.write(Buffer.alloc(behind));
      await closed;
      return text;
    };
    expect(await answered(32 * 1024)).toMatch(/^HTTP\/1\.1 200 OK\r\n/);
    expect(await answered(1024 * 1024)).toBe('');
    expect((await get(overTcp, '/v1/state', bearing(TOKEN))).status).toBe(200);
  });

  it('who says nothing is let go after a while', { timeout: 60_000 }, async () => {
    const silent = connect({ host: '127.0.0.1', port: (overTcp as { port: number }).port });
    const closed = new Promise((resolve) => silent.once('close', resolve));
    silent.write('GET /v1/state HTTP/1.1\r\n');
    const drip = setInterval(() => silent.write('A: b\r\n'), 500);
    const start = performance.now();
    silent.on('error', () => undefined).resume();
    await closed;
    clearInterval(drip);
    expect(performance.now() - start).toBeGreaterThan(8_000);
  });

  it('who does not agree on TLS is let go after a while', { timeout: 60_000 }, async () => {
    const silent = connect({ host: '127.0.0.1', port: (overTls as { port: number }).port });
    const start = performance.now();
    await new Promise((resolve) => silent.once('close', resolve).resume());
    expect(performance.now() - start).toBeGreaterThan(8_000);
  });

  it('is also there with TLS, and then not without', async () => {
    expect((await get(overTls, '/v1/state', bearing(TOKEN))).status).toBe(200);
    const reader = await TestReader.open(overTls, 'oldest', { token: TOKEN });
    await expect.poll(() => reader.told.length).toBeGreaterThan(1);
    reader.close();
    await expect(get({ port: (overTls as { port: number }).port }, '/v1/state', bearing(TOKEN))).rejects.toThrow();
  });
});

describe('what keeps berthd from listening', () => {
  it.each([
    ['a token that others can read', (token: string) => chmodSync(token, 0o644), 'mode 0600'],
    ['a token that can be guessed', (token: string) => writeFileSync(token, 'secret\n'), '32 to 512'],
    ['no token', (token: string) => rmSync(token), 'no such file'],
  ])('is %s: the log has why, and root is told who asks for a token; launches go on', async (_what, spoil, why) => {
    const token = join(scratch, 'spoilt');
    writeFileSync(token, TOKEN, { mode: 0o600 });
    spoil(token);
    const daemon = new TestDaemon(`[events]\nlisten = "127.0.0.1:${await freePort()}"\ntoken_file = "${token}"\n`);
    try {
      await daemon.start();
      expect(daemon.log).toContain('BERTH_EVENTS_LISTEN');
      expect(daemon.log).toContain(why);
      expect(askForToken(0, daemon)).toMatchObject({ status: 2, stdout: '' });
      expect(askForToken(0, daemon).stderr).toContain(why);
      const { status, stdout, stderr } = askForToken(65_534, daemon);
      expect({ status, stdout }).toEqual({ status: 2, stdout: '' });
      expect(stderr).toContain('BERTH_EVENTS_NOT_SERVED');
      expect(stderr).toContain("berthd's log has the reason");
      // What is wrong with the site's token is nobody else's to know.
      expect(stderr).not.toContain(why);
      expect((await get({ socketPath: daemon.socket }, '/v1/state')).status).toBe(200);
    } finally {
      await daemon.remove();
      rmSync(token, { force: true });
    }
  });

  it('is an address that is taken: whoever asks for a token is told, and gets none', async () => {
    const port = (overTcp as { port: number }).port;
    const daemon = new TestDaemon(`[events]\nlisten = "127.0.0.1:${port}"\ntoken_file = "${join(scratch, 'token')}"\n`);
    try {
      await daemon.start();
      expect(daemon.log).toContain('address already in use');
      for (const uid of [0, 65_534]) {
        const { status, stdout, stderr } = askForToken(uid, daemon);
        expect({ status, stdout }).toEqual({ status: 2, stdout: '' });
        expect(stderr).toContain('BERTH_EVENTS_NOT_SERVED');
        expect(stderr).toContain(
          `nothing is served on 127.0.0.1:${port}: listen: address already in use 127.0.0.1:${port}`,
        );
      }
    } finally {
      await daemon.remove();
    }
  });
});
