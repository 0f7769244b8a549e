import { hostname } from 'node:os';
import { describe, expect, it, vi } from 'vitest';
import { parseConfig } from '../../src/config/index.js';
import { SharedFrames } from '../../src/daemon/web/frames.js';
import { asksForUs, ownNames, sourceOf } from '../../src/daemon/web/guard.js';
import { listen } from '../../src/daemon/web/listen.js';
import { pageHeaders } from '../../src/daemon/web/page.js';
import { Tokens } from '../../src/daemon/web/tokens.js';
import { Journal } from '../../src/events/index.js';

describe('a listener', () => {
  it('outlives connections that cannot be accepted', async () => {
    const { config } = parseConfig('', 'berth.toml');
    const events = { ...config.events, listen: '127.0.0.1:0' };
    const server = await listen(events, (socket) => socket.destroy(), vi.fn());
    try {
      server.emit('error', new Error('accept: EPERM'));
      server.emit('error', new Error('accept: ENOBUFS'));
      expect(server.listening).toBe(true);
    } finally {
      server.close();
    }
  });
});

describe('messages for readers', () => {
  it('are made once for all that are at one place, and kept for few places at a time', () => {
    const journal = new Journal();
    const frames = new SharedFrames(journal);
    for (let count = 0; count < 100; count++)
      journal.append({ type: 'daemon', what: 'started', berthd: '1', adopted: 0 });
    const first = frames.from(1);
    expect(first?.next).toBe(101);
    expect(frames.from(1)).toBe(first);
    for (let place = 2; place <= 16; place++) expect(frames.from(place)).toBe(frames.from(place));
    expect(frames.from(1)).toBe(first);
    const another = frames.from(17);
    expect(frames.from(17)).toBe(another);
    const again = frames.from(1);
    expect(again).toEqual(first);
    expect(again).not.toBe(first);
    expect(frames.from(101)).toBeUndefined();
  });
});

describe('a Host header', () => {
  const names = ownNames(['node7.cluster.org']);

  it.each([
    '127.0.0.1:9443',
    '10.1.2.3',
    '[::1]:9443',
    '[fe80::1]',
    'localhost:9443',
    'LOCALHOST',
    'node7.cluster.org:9443',
    'node7.cluster.org.',
    hostname(),
  ])('asks for this node: %s', (host) => {
    expect(asksForUs(host, names)).toBe(true);
  });

  // The first few are how a page elsewhere reaches a node: by a name of its own that leads here.
  it.each([
    'evil.example',
    'evil.example:9443',
    '127.0.0.1.evil.example',
    'localhost.evil.example',
    '[::1].evil',
    '',
    '127.0.0.1:9443:1',
    '[127.0.0.1]',
    'node7',
    undefined,
  ])('does not ask for this node: %s', (host) => {
    expect(asksForUs(host, names)).toBe(false);
  });
});

describe('an Origin header', () => {
  const here = 'https://n1:9443';
  it.each([
    ['no header, of a program', undefined, 'here'],
    ['our own page', 'https://n1:9443', 'here'],
    ['a page that the site allows', 'https://n2:9443', 'allowed'],
    ['our own page without TLS', 'http://n1:9443', 'refused'],
    ['another port', 'https://n1', 'refused'],
    ['a page elsewhere', 'https://evil.example', 'refused'],
    ['a file, or a frame without rights', 'null', 'refused'],
  ])('of %s', (_what, origin, source) => {
    expect(sourceOf(origin, here, ['https://n2:9443'])).toBe(source);
  });
});

describe('a token', () => {
  const secret = 'a'.repeat(64);
  const tokens = new Tokens(secret);

  it("of the site is root's", () => {
    expect(tokens.viewerOf(secret)).toEqual({ uid: 0 });
  });

  it.each(['', 'a', 'a'.repeat(63), 'b'.repeat(64), 'a'.repeat(65), 'berth1.0.9999999999.'])(
    'that is wrong is nobody: %j',
    (token) => {
      expect(tokens.viewerOf(token)).toBeUndefined();
    },
  );

  it('of a user is theirs, for twelve hours', () => {
    const { token, until } = tokens.issue({ uid: 2001 }, 1_000_000);
    expect(until).toBe(1_000_000 + 12 * 3600);
    expect(tokens.viewerOf(token, 1_000_001)).toEqual({ uid: 2001 });
    expect(tokens.viewerOf(token, until + 1)).toBeUndefined();
  });

  it('of a user cannot be made into another', () => {
    const { token } = tokens.issue({ uid: 2001 });
    const [head = '', , until = '', word = ''] = token.split('.');
    for (const forged of [
      `${head}.0.${until}.${word}`,
      `${head}.2001.9999999999.${word}`,
      `${head}.02001.${until}.${word}`,
    ])
      expect(tokens.viewerOf(forged)).toBeUndefined();
    expect(new Tokens('b'.repeat(64)).viewerOf(token)).toBeUndefined();
  });
});

describe("the page's headers", () => {
  it('allow its own files and connections to the nodes that the site has listed, and nothing else', () => {
    const policy = pageHeaders(['https://n2:9443'])['Content-Security-Policy'] ?? '';
    expect(policy.split('; ')).toEqual([
      "default-src 'none'",
      "script-src 'self'",
      "style-src 'self'",
      "img-src 'self'",
      "connect-src 'self' https://n2:9443 wss://n2:9443",
      "base-uri 'none'",
      "form-action 'none'",
      "frame-ancestors 'none'",
      "require-trusted-types-for 'script'",
    ]);
  });
});

describe('the configuration of [events]', () => {
  const problems = (text: string): string[] =>
    parseConfig(`[events]\n${text}`, 'berth.toml').problems.map(({ what }) => what.replace(/^.*?: /, ''));
  const token = 'token_file = "/etc/berth/token"\n';
  const tls = 'tls_cert = "/c"\ntls_key = "/k"\n';

  it.each(['127.0.0.1:9443', '127.1.2.3:1', '[::1]:9443'])('lets %s be served without TLS, with a token', (address) => {
    expect(problems(`${token}listen = "${address}"`)).toEqual([]);
  });

  it.each(['10.0.0.1:9443', '0.0.0.0:9443', '[::]:9443', '[::2]:1'])('wants TLS for %s', (address) => {
    expect(problems(`${token}listen = "${address}"`)).toEqual([expect.stringContaining('not a loopback')]);
    expect(problems(`${token}${tls}listen = "${address}"`)).toEqual([]);
  });

  it('wants a token everywhere', () => {
    expect(problems('listen = "127.0.0.1:9443"')).toEqual([expect.stringContaining('token_file')]);
    expect(problems(`${tls}listen = "10.0.0.1:9443"`)).toEqual([expect.stringContaining('token_file')]);
  });

  it.each(['localhost:9443', ':9443', '127.0.0.1', '127.0.0.1:', '::1:9443', 'http://127.0.0.1:1'])(
    'takes no %s',
    (address) => {
      expect(problems(`${token}listen = "${address}"`)).not.toEqual([]);
    },
  );

  it.each([
    'https://n2:9443/',
    'n2:9443',
    'https://*',
    "https://n2 'unsafe-inline'",
    'https://n2;script-src *',
    'ftp://n2',
  ])('takes no %s for a node: it stands in a header', (node) => {
    expect(problems(`nodes = ["${node}"]`)).not.toEqual([]);
  });
});
