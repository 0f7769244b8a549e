// Connections over the network before anybody knows whose they are.
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { connect, type AddressInfo, type Server, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { connect as connectTls } from 'node:tls';
import { afterAll, afterEach, beforeAll, beforeEach, expect, it } from 'vitest';
import { parseConfig } from '../../src/config/index.js';
import { listen } from '../../src/daemon/web/listen.js';

const scratch = mkdtempSync(join(tmpdir(), 'berth-listen-'));
const at = (name: string): string => join(scratch, name);
const clients: Socket[] = [];
const accepted: Socket[] = [];
let came = 0;
let server: Server;

beforeAll(() => {
  const key = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-keyout', at('key')];
  const subject = ['-subj', '/CN=localhost', '-addext', 'subjectAltName=IP:127.0.0.1'];
  execFileSync('openssl', ['req', '-x509', ...key, '-out', at('cert'), ...subject, '-days', '2'], { stdio: 'pipe' });
});

beforeEach(async () => {
  const text = `[events]\nlisten = "127.0.0.1:0"\ntoken_file = "/t"\ntls_cert = "${at('cert')}"\ntls_key = "${at('key')}"\n`;
  const { config } = parseConfig(text, 'berth.toml');
  came = 0;
  server = await listen(
    config.events,
    (socket) => accepted.push(socket),
    () => came++,
  );
});

afterEach(() => {
  for (const socket of [...clients, ...accepted]) socket.destroy();
  clients.length = 0;
  accepted.length = 0;
  server.close();
});

afterAll(() => {
  rmSync(scratch, { recursive: true });
});

const port = (): number => (server.address() as AddressInfo).port;

/** A client that says nothing. */
async function silent(): Promise<Socket> {
  const socket = connect({ host: '127.0.0.1', port: port() });
  clients.push(socket);
  socket.on('error', () => undefined).resume();
  await new Promise((resolve) => socket.once('connect', resolve));
  return socket;
}

/** A client that agrees on TLS. */
async function agreeing(): Promise<Socket> {
  const socket = connectTls({ host: '127.0.0.1', port: port(), ca: readFileSync(at('cert')) });
  clients.push(socket);
  socket.on('error', () => undefined).resume();
  await new Promise((resolve, reject) => {
    socket.once('secureConnect', resolve);
    socket.once('close', reject);
  });
  return socket;
}

it(
  'those that do not agree on TLS make room for later ones, and never those that have',
  { timeout: 30_000 },
  async () => {
    const first = await agreeing();
    const many: Socket[] = [];
    for (let i = 0; i < 300; i++) many.push(await silent());
    await expect.poll(() => many.filter(({ closed }) => closed).length).toBe(300 - 256);
    expect(many.slice(0, 300 - 256).every(({ closed }) => closed)).toBe(true);
    const last = await agreeing();
    expect([first.closed, last.closed]).toEqual([false, false]);
    await expect.poll(() => accepted.length).toBe(2);
  },
);

it('each is told of, also where nothing comes of it: it took memory', async () => {
  const socket = await silent();
  socket.end('GET / HTTP/1.1\r\n\r\n');
  await new Promise((resolve) => socket.once('close', resolve));
  expect([came, accepted.length]).toEqual([1, 0]);
});
