import { PassThrough } from 'node:stream';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { authfileFor, parseRegistry } from '../../src/cli/pull/credentials.js';
import { explain, faultOf, redact } from '../../src/cli/pull/explain.js';
import { chooseImage, parseDocument, type Document } from '../../src/cli/pull/manifest.js';
import { parsePlatform, showPlatform } from '../../src/cli/pull/platform.js';
import { Progress, timeLeft } from '../../src/cli/pull/progress.js';
import { Rate } from '../../src/cli/pull/rate.js';
import { SkopeoError } from '../../src/cli/pull/skopeo.js';
import { makeTerminal } from '../../src/cli/terminal.js';
import { makeImage, makeIndex } from '../registry/image.js';

const digest = (digit: string): string => `sha256:${digit.repeat(64)}`;

describe('a manifest', () => {
  it.each(['oci', 'docker'] as const)('of an %s image names configuration and layers', (format) => {
    const { manifest, config, layers } = makeImage({ format, layers: [{ content: { 'etc/a': '' } }] });
    expect(parseDocument(manifest.bytes, 'app')).toEqual({
      type: 'image',
      config: { digest: config.digest, size: config.bytes.length },
      layers: layers.map((layer) => ({ digest: layer.digest, size: layer.blob.length })),
    });
  });

  const config = { mediaType: 'application/vnd.oci.image.config.v1+json', digest: digest('a'), size: 2 };
  it.each([
    [[], 'its manifest is not a JSON object'],
    [{ schemaVersion: 1 }, "it is of Docker's version 1, which registries gave up in 2016"],
    [{ schemaVersion: 2, mediaType: 'text/html' }, 'it is of type text/html'],
    [
      { schemaVersion: 2, config: { ...config, mediaType: 'application/vnd.cncf.helm.config.v1+json' } },
      'what it holds is application/vnd.cncf.helm.config.v1+json, not a container image',
    ],
    [{ schemaVersion: 2 }, 'what it holds is not said, not a container image'],
    [
      { schemaVersion: 2, config, layers: [{ digest: 'md5:x', size: 1 }] },
      'its manifest names a part without digest (sha256) and size',
    ],
    [
      { schemaVersion: 2, config, layers: [{ digest: digest('b'), size: -1 }] },
      'its manifest names a part without digest (sha256) and size',
    ],
    [
      { schemaVersion: 2, config, layers: [{ mediaType: 'application/vnd.oci.image.layer.v1.tar+gzip+encrypted' }] },
      'its layers are encrypted',
    ],
    [{ schemaVersion: 2, manifests: [{ digest: '../x' }] }, 'its index has an entry without a digest'],
  ])('%j is refused', (content, why) => {
    expect(() => parseDocument(Buffer.from(JSON.stringify(content)), 'app')).toThrow(
      expect.objectContaining({
        code: 'BERTH_PULL_MANIFEST',
        what: 'app is not an image that can be pulled',
        why,
      }) as Error,
    );
  });

  it('that is no JSON, or too long, is refused', () => {
    for (const bytes of [Buffer.from('<html>'), Buffer.alloc(5_000_000, 'x')]) {
      expect(() => parseDocument(bytes, 'app')).toThrow(
        expect.objectContaining({ code: 'BERTH_PULL_MANIFEST' }) as Error,
      );
    }
  });
});

describe('of an index', () => {
  const images = [
    'linux/amd64/v3',
    'linux/amd64',
    'linux/arm/v6',
    'linux/arm/v7',
    'linux/arm64/v8',
    'windows/amd64',
    'linux/s390x',
  ];
  const choose = (wish: string): string =>
    showPlatform(
      chooseImage(
        images.map((platform, i) => ({ digest: digest(String(i)), platform: parsePlatform(platform) })),
        parsePlatform(wish),
        'app',
      ).platform,
    );

  it.each([
    ['linux/amd64', 'linux/amd64'],
    ['linux/amd64/v3', 'linux/amd64/v3'],
    ['linux/amd64/v1', 'linux/amd64'],
    ['linux/arm64', 'linux/arm64/v8'],
    ['linux/arm64/v8', 'linux/arm64/v8'],
    ['linux/arm', 'linux/arm/v6'],
    ['linux/arm/v7', 'linux/arm/v7'],
  ])('%s gets %s', (wish, chosen) => {
    expect(choose(wish)).toBe(chosen);
  });

  it('nothing fits what it has not', () => {
    expect(() => choose('linux/riscv64')).toThrow(
      expect.objectContaining({ code: 'BERTH_PULL_PLATFORM', why: `it is made for ${images.join(', ')}` }) as Error,
    );
  });

  it('attestations beside the images are passed over', () => {
    const image = makeImage({ layers: [] });
    const index = JSON.parse(makeIndex([image]).bytes.toString()) as { manifests: object[] };
    index.manifests.push({ digest: digest('f'), platform: { os: 'unknown', architecture: 'unknown' } });
    const document: Document = parseDocument(Buffer.from(JSON.stringify(index)), 'app');
    expect(document.type === 'index' && document.images.map((one) => one.digest)).toEqual([image.manifest.digest]);
  });

  it.each(['linux', 'linux/', 'linux/amd64/v2/x', 'Linux/amd64', '--x/y'])('%s is no platform', (text) => {
    expect(() => parsePlatform(text)).toThrow(expect.objectContaining({ code: 'BERTH_USAGE' }) as Error);
  });
});

describe('what skopeo says becomes', () => {
  it.each([
    [
      'reading manifest 1 in r/app: manifest unknown: manifest unknown',
      'BERTH_PULL_UNKNOWN',
      'it knows no such tag or digest',
    ],
    ['reading manifest 1 in r/app: name unknown', 'BERTH_PULL_UNKNOWN', 'it knows no such repository'],
    ['reading manifest 1 in r/app: unauthorized: authentication required', 'BERTH_PULL_DENIED', 'asked as nobody'],
    ['errors: denied: requested access to the resource is denied', 'BERTH_PULL_DENIED', 'asked as nobody'],
    ['toomanyrequests: You have reached your pull rate limit.', 'BERTH_REGISTRY_BUSY', 'too many images were pulled'],
    ['Get "https://r/v2/": x509: certificate has expired or is not yet valid', 'BERTH_REGISTRY_TLS', 'has expired'],
    [
      'Get "https://r/v2/": dial tcp 10.0.0.1:443: i/o timeout',
      'BERTH_REGISTRY_UNREACHABLE',
      'does not answer in time',
    ],
    ['Get "https://r/v2/": net/http: TLS handshake timeout', 'BERTH_REGISTRY_UNREACHABLE', 'does not answer in time'],
    [
      'reading manifest 1 in r/app: received unexpected HTTP status: 503 Service Unavailable',
      'BERTH_REGISTRY_FAILED',
      'it answered 503 Service Unavailable',
    ],
    [
      'pinging container registry r: invalid status code from registry 500 (Internal Server Error)',
      'BERTH_REGISTRY_FAILED',
      'it answered 500 Internal Server Error',
    ],
    ['fetching blob: invalid status code from registry 522 ()', 'BERTH_REGISTRY_FAILED', 'it answered 522'],
    ['skopeo ended with SIGKILL', 'BERTH_PULL_FAILED', 'skopeo was killed'],
    // A port is no status.
    [
      'reading manifest 1 in 127.0.0.1:34043/secret: unauthorized: authentication required',
      'BERTH_PULL_DENIED',
      'asked as nobody',
    ],
    ['unexpected EOF', 'BERTH_REGISTRY_UNREACHABLE', 'it broke the connection off'],
    [`corrupted blob, expecting ${digest('a')}`, 'BERTH_PULL_DIGEST', 'registry.org sent something else'],
    ['Error fetching blob: invalid status code from registry 404 (Not Found)', 'BERTH_PULL_BLOB', 'is not there'],
    ['Source image rejected: Running image docker://r/a is rejected by policy.', 'BERTH_PULL_POLICY', 'refuses all'],
    ['a: b: something entirely new: with its cause', 'BERTH_PULL_FAILED', 'something entirely new: with its cause'],
  ])('"%s" %s', (words, code, why) => {
    const error = explain(new SkopeoError(words), { name: 'app', registry: 'registry.org' }, 'asked as nobody');
    expect(error).toMatchObject({ code, why: expect.stringContaining(why) as string });
  });

  it('nothing else than it was, when it is another error', () => {
    const error = new Error('x509: manifest unknown');
    expect(explain(error, { name: 'app', registry: 'r' })).toBe(error);
    expect(faultOf(error)).toBe('other');
  });

  it('words without secrets', () => {
    expect(
      redact('Get "https://alice:secret@r.org/v2/?token=secret&a=1&X-Amz-Signature=secret": Bearer secret.x'),
    ).toBe('Get "https://r.org/v2/?token=…&a=1&X-Amz-Signature=…": Bearer …');
  });
});

describe('credentials go', () => {
  let directory: string;
  beforeEach(() => {
    directory = mkdtempSync(join(tmpdir(), 'berth-credentials-'));
  });
  afterEach(() => {
    rmSync(directory, { recursive: true });
  });

  it('where the user says, where podman keeps them, or into the home directory', () => {
    const env = { HOME: '/home/alice', XDG_RUNTIME_DIR: directory };
    expect(authfileFor('mine', { ...env, REGISTRY_AUTH_FILE: '/etc/auth' })).toBe('mine');
    expect(authfileFor(undefined, { ...env, REGISTRY_AUTH_FILE: '/etc/auth' })).toBe('/etc/auth');
    expect(authfileFor(undefined, env)).toBe(join(directory, 'containers/auth.json'));
    expect(authfileFor(undefined, { ...env, XDG_RUNTIME_DIR: join(directory, 'none') })).toBe(
      '/home/alice/.config/containers/auth.json',
    );
    expect(authfileFor(undefined, { HOME: '/home/alice', XDG_CONFIG_HOME: '/config' })).toBe(
      '/config/containers/auth.json',
    );
  });

  it('to a registry, and to nothing else', () => {
    expect(parseRegistry('docker://ghcr.io/', 'login')).toBe('ghcr.io');
    expect(parseRegistry('localhost:5000/group', 'login')).toBe('localhost:5000/group');
    for (const text of ['', '-x', 'a b', 'r.org/../x', 'https://alice:secret@r.org'])
      expect(() => parseRegistry(text, 'login')).toThrow(expect.objectContaining({ code: 'BERTH_USAGE' }) as Error);
  });
});

describe('the rate', () => {
  it('is that of the last five seconds', () => {
    let now = 0;
    const rate = new Rate(() => now);
    expect(rate.perSecond()).toBe(0);
    for (now = 1000; now <= 10_000; now += 1000) rate.observe(now * 100);
    expect(rate.perSecond()).toBeCloseTo(100_000);
    for (now = 11_000; now <= 20_000; now += 1000) rate.observe(1_000_000);
    expect(rate.perSecond()).toBe(0);
  });

  it.each([
    [0.2, '1 s'],
    [59, '59 s'],
    [187, '3:07 min'],
    [3720, '1:02 h'],
  ])('leaves %d s: %s', (seconds, text) => {
    expect(timeLeft(seconds)).toBe(text);
  });
});

describe('progress', () => {
  const large = { digest: digest('a'), size: 100_000_000 };
  const small = { digest: digest('b'), size: 1_000_000 };
  let shown: string;

  function terminal(isTTY: boolean) {
    const stderr = Object.assign(new PassThrough(), { isTTY, columns: 100 });
    const stdout = new PassThrough();
    shown = '';
    for (const stream of [stdout, stderr]) stream.setEncoding('utf8').on('data', (text: string) => (shown += text));
    return makeTerminal(stdout, stderr, { NO_COLOR: '1' });
  }

  beforeEach(() => {
    vi.useFakeTimers();
  });
  afterEach(() => {
    vi.useRealTimers();
  });

  it('on a terminal is a bar for each layer on its way and a line for all, redrawn five times a second', () => {
    const progress = new Progress('app:1', terminal(true), 'auto');
    let received = 0;
    progress.fetching([large, small], () => {
      progress.received(large.digest, received);
    });
    received = 25_000_000;
    shown = '';
    vi.advanceTimersByTime(1000);
    expect(shown.match(/app:1: /g)).toHaveLength(5);
    progress.stored(small.digest);
    shown = '';
    vi.advanceTimersByTime(200);
    // Two lines are removed, and two drawn.
    expect(shown).toBe(
      '\r\x1b[K\x1b[A\x1b[K  aaaaaaaaaaaa [======                  ] 25 MB of 100 MB\n' +
        'app:1: 1 of 2 done, 26 MB of 101 MB, 21.7 MB/s, 4 s left',
    );
    progress.stop();
    shown = '';
    vi.advanceTimersByTime(5000);
    expect(shown).toBe('');
  });

  it('in a log is a line every five seconds', () => {
    const progress = new Progress('app:1', terminal(false), 'auto');
    progress.fetching([large], () => {
      progress.received(large.digest, 50_000_000);
    });
    vi.advanceTimersByTime(12_000);
    progress.converting();
    vi.advanceTimersByTime(12_000);
    progress.stop();
    const lines = shown.trimEnd().split('\n');
    expect(lines[0]).toBe('app:1: 1 blob, 100 MB');
    expect(lines[1]).toMatch(/^app:1: 0 of 1 done, 50 MB of 100 MB, /);
    expect(lines).toHaveLength(4);
    expect(lines[3]).toBe('app:1: putting the image together');
  });

  it('of somebody else says whose, and is not counted as fetched', () => {
    const progress = new Progress('app:1', terminal(false), 'auto');
    progress.waiting('bob on n2');
    progress.waiting('bob on n2');
    progress.others([{ ...large, received: 70_000_000, stored: false }]);
    vi.advanceTimersByTime(5000);
    progress.stop();
    expect(shown).toMatch(
      /^app:1: bob on n2 pulls it already; waiting for that\napp:1: bob on n2 pulls it, 0 of 1 done, 70 MB of 100 MB/,
    );
    expect(progress.fetched).toBe(0);
  });

  it('is nothing, and looks at nothing, when nobody wants it', () => {
    const progress = new Progress('app:1', terminal(true), 'none');
    let looks = 0;
    progress.waiting('bob on n2');
    progress.fetching([large], () => looks++);
    vi.advanceTimersByTime(10_000);
    progress.stop();
    expect({ shown, looks }).toEqual({ shown: '', looks: 0 });
  });
});
