import { execFileSync, spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { request as httpRequest, type IncomingMessage } from 'node:http';
import { request as httpsRequest } from 'node:https';
import { createServer, type AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { makeImage, makeIndex, type Document, type Format, type Image, type ImageSpec } from './image.js';

export interface Login {
  readonly user: string;
  readonly password: string;
}

export interface RegistryOptions {
  /** Whoever else comes is refused. */
  readonly auth?: Login;
  /** With a certificate of its own, `Registry.certificate`. */
  readonly tls?: boolean;
}

/** One line of the registry's access log. */
export interface Access {
  readonly method: string;
  readonly path: string;
  readonly status: number;
}

/** Debian's docker-registry on the loopback interface, with a storage of its own. */
export class Registry {
  #process: ChildProcess | undefined;
  #log = '';

  private constructor(
    readonly directory: string,
    readonly port: number,
    private readonly options: RegistryOptions,
  ) {}

  static async start(options: RegistryOptions = {}): Promise<Registry> {
    const registry = new Registry(mkdtempSync(join(tmpdir(), 'berth-registry-')), await freePort(), options);
    try {
      registry.#configure();
      await registry.resume();
      return registry;
    } catch (error) {
      await registry.stop();
      throw error;
    }
  }

  /** As it stands before a repository's name. */
  get host(): string {
    return `127.0.0.1:${this.port}`;
  }

  /** The certificate that vouches for it, with `tls`. */
  get certificate(): string {
    return join(this.directory, 'registry.crt');
  }

  /** What was asked of it since it was started, newest last. */
  get accesses(): readonly Access[] {
    const lines = this.#log.matchAll(/"(GET|HEAD|POST|PUT|PATCH|DELETE) (\S+) HTTP\/[\d.]+" (\d{3}) /g);
    return [...lines].map(([, method = '', path = '', status]) => ({ method, path, status: Number(status) }));
  }

  forgetAccesses(): void {
    this.#log = '';
  }

  /** How often content of the blob was sent, or began to be. */
  blobReads(digest: string): number {
    return this.accesses.filter(({ method, path }) => method === 'GET' && path.endsWith(`/blobs/${digest}`)).length;
  }

  /** Pushes an image as NAME:TAG. */
  async push(name: string, spec: ImageSpec): Promise<Image> {
    const image = makeImage(spec);
    const { repository, tag } = split(name);
    await this.#pushBlobs(repository, image);
    await this.#putManifest(repository, tag, image.manifest);
    return image;
  }

  /** Pushes images of several platforms as one NAME:TAG. */
  async pushIndex(
    name: string,
    specs: readonly ImageSpec[],
    format: Format = 'oci',
  ): Promise<{ index: Document; images: readonly Image[] }> {
    const images = specs.map((spec) => makeImage({ format, ...spec }));
    const { repository, tag } = split(name);
    for (const image of images) {
      await this.#pushBlobs(repository, image);
      await this.#putManifest(repository, image.manifest.digest, image.manifest);
    }
    const index = makeIndex(images, format);
    await this.#putManifest(repository, tag, index);
    return { index, images };
  }

  /** Loses a blob that manifests still name. */
  deleteBlob(digest: string): void {
    rmSync(join(this.#blob(digest), '..'), { recursive: true });
  }

  /** Changes one byte in the middle of a blob. */
  corruptBlob(digest: string): void {
    const bytes = readFileSync(this.#blob(digest));
    const middle = Math.floor(bytes.length / 2);
    bytes[middle] = (bytes[middle] ?? 0) ^ 0xff;
    writeFileSync(this.#blob(digest), bytes);
  }

  /** Ends the server and keeps what it holds. */
  async suspend(): Promise<void> {
    const child = this.#process;
    this.#process = undefined;
    if (child?.exitCode !== null || child.signalCode !== null) return;
    child.kill('SIGKILL');
    await once(child, 'exit');
  }

  /** Starts the server. */
  async resume(): Promise<void> {
    const child = spawn('docker-registry', ['serve', join(this.directory, 'config.yml')], {
      stdio: ['ignore', 'pipe', 'pipe'],
      env: { PATH: process.env['PATH'] ?? '', OTEL_TRACES_EXPORTER: 'none' },
    });
    this.#process = child;
    let said = '';
    child.stdout.setEncoding('utf8').on('data', (text: string) => (this.#log += text));
    child.stderr.setEncoding('utf8');
    await new Promise<void>((resolve, reject) => {
      child.stderr.on('data', (text: string) => {
        said += text;
        if (said.includes('listening on')) resolve();
      });
      child.once('error', reject);
      child.once('exit', () => {
        reject(new Error(`docker-registry ended: ${said}`));
      });
    });
  }

  /** Ends the server and removes everything of it. */
  async stop(): Promise<void> {
    await this.suspend();
    rmSync(this.directory, { recursive: true, force: true });
  }

  #configure(): void {
    const { auth, tls } = this.options;
    const at = (name: string): string => join(this.directory, name);
    mkdirSync(at('storage'));
    const http: Record<string, unknown> = { addr: this.host, relativeurls: true };
    if (tls) {
      makeCertificate(at('registry.crt'), at('registry.key'));
      http['tls'] = { certificate: at('registry.crt'), key: at('registry.key') };
    }
    if (auth) writeFileSync(at('htpasswd'), `${auth.user}:${bcrypt(auth.password)}\n`);
    const config = {
      version: 0.1,
      log: { level: 'info', accesslog: { disabled: false } },
      storage: { filesystem: { rootdirectory: at('storage') }, delete: { enabled: true } },
      http,
      ...(auth ? { auth: { htpasswd: { realm: 'test', path: at('htpasswd') } } } : {}),
    };
    // JSON is YAML.
    writeFileSync(at('config.yml'), JSON.stringify(config));
  }

  #blob(digest: string): string {
    const hex = digest.slice('sha256:'.length);
    return join(this.directory, 'storage/docker/registry/v2/blobs/sha256', hex.slice(0, 2), hex, 'data');
  }

  async #pushBlobs(repository: string, { config, layers }: Image): Promise<void> {
    const blobs = [{ digest: config.digest, blob: config.bytes }, ...layers];
    for (const { digest, blob } of blobs) {
      const upload = await this.#ask('POST', `/v2/${repository}/blobs/uploads/`, 202);
      const location = upload.headers.location ?? '';
      const separator = location.includes('?') ? '&' : '?';
      await this.#ask('PUT', `${location}${separator}digest=${digest}`, 201, blob, 'application/octet-stream');
    }
  }

  async #putManifest(repository: string, reference: string, { bytes, mediaType }: Document): Promise<void> {
    await this.#ask('PUT', `/v2/${repository}/manifests/${reference}`, 201, bytes, mediaType);
  }

  async #ask(method: string, path: string, expected: number, body?: Buffer, type?: string): Promise<IncomingMessage> {
    const { auth, tls } = this.options;
    const options = {
      method,
      host: '127.0.0.1',
      port: this.port,
      path,
      headers: {
        'content-length': body?.length ?? 0,
        ...(type === undefined ? {} : { 'content-type': type }),
      },
      ...(auth ? { auth: `${auth.user}:${auth.password}` } : {}),
    };
    const request = tls ? httpsRequest({ ...options, ca: readFileSync(this.certificate) }) : httpRequest(options);
    request.end(body);
    const [response] = (await once(request, 'response')) as [IncomingMessage];
    let answer = '';
    for await (const chunk of response) answer += String(chunk);
    if (response.statusCode !== expected)
      throw new Error(`${method} ${path}: ${String(response.statusCode)} ${answer}`);
    return response;
  }
}

function split(name: string): { repository: string; tag: string } {
  const [repository = '', tag = 'latest'] = name.split(':');
  return { repository, tag };
}

async function freePort(): Promise<number> {
  const server = createServer();
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, 'close');
  return port;
}

function makeCertificate(certificate: string, key: string): void {
  const subject = ['-subj', '/CN=127.0.0.1', '-addext', 'subjectAltName=IP:127.0.0.1'];
  const argv = ['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-days', '2'];
  execFileSync('openssl', [...argv, ...subject, '-keyout', key, '-out', certificate], { stdio: 'pipe' });
}

/** What docker-registry takes as a password file, and no other kind. The C library knows how. */
function bcrypt(password: string): string {
  const program =
    'import crypt, sys; print(crypt.crypt(sys.stdin.read(), crypt.mksalt(crypt.METHOD_BLOWFISH, rounds=16)))';
  return execFileSync('python3', ['-W', 'ignore', '-c', program], { input: password }).toString().trim();
}
