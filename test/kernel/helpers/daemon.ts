import { execFileSync, spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { connect, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { decodeReply, encodeRequest, frame, FrameReader, REPLY_LIMIT, type v1 } from '../../../src/protocol/index.js';

const root = join(import.meta.dirname, '..', '..', '..');
export const berthdScript = join(root, 'build', 'lib', 'berthd.js');

/** How a process ended. */
export interface Ending {
  readonly status: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly stderr: string;
}

/** A real berthd with directories of its own. */
export class TestDaemon {
  readonly directory = mkdtempSync(join(tmpdir(), 'berth-daemon-'));
  readonly socket = join(this.directory, 'run', 'berthd.sock');
  readonly config = join(this.directory, 'berth.toml');
  #process: ChildProcess | undefined;
  #stderr = '';

  constructor(text = '') {
    mkdirSync(join(this.directory, 'run'));
    mkdirSync(join(this.directory, 'store'), { mode: 0o700 });
    execFileSync('chmod', ['755', this.directory]);
    this.writeConfig(text);
  }

  /** The daemon's and the store's places come first; `text` is more of the file. */
  writeConfig(text: string): void {
    const places = `[daemon]\nruntime_directory = "${join(this.directory, 'run')}"\n[store]\npath = "${join(this.directory, 'store')}"\n`;
    writeFileSync(this.config, places + text, { mode: 0o644 });
  }

  get pid(): number {
    return this.#process?.pid ?? -1;
  }

  get log(): string {
    return this.#stderr;
  }

  /** Starts berthd; `shell` may wrap the command, which is "$@" in it. */
  spawn(shell = 'exec "$@"', env: Readonly<Record<string, string>> = {}): ChildProcess {
    this.#stderr = '';
    const argv = ['-c', shell, 'sh', process.execPath, berthdScript, '--config', this.config];
    const child = spawn('sh', argv, {
      stdio: ['ignore', 'ignore', 'pipe'],
      env: { PATH: process.env['PATH'] ?? '/usr/bin:/bin', ...env },
    });
    child.stderr.setEncoding('utf8').on('data', (text: string) => (this.#stderr += text));
    this.#process = child;
    return child;
  }

  /** Starts berthd and waits until it is ready. */
  async start(shell?: string, env?: Readonly<Record<string, string>>): Promise<void> {
    const child = this.spawn(shell, env);
    await new Promise<void>((resolve, reject) => {
      child.stderr?.on('data', () => {
        if (this.#stderr.includes('berthd is ready')) resolve();
      });
      child.once('exit', () => {
        reject(new Error(`berthd ended: ${this.#stderr}`));
      });
    });
  }

  /** Waits for berthd to end by itself or by `signal`. */
  async end(signal?: NodeJS.Signals): Promise<Ending> {
    const child = this.#process;
    if (!child) throw new Error('no berthd was started');
    if (signal) child.kill(signal);
    if (child.exitCode === null && child.signalCode === null) await once(child, 'exit');
    return { status: child.exitCode, signal: child.signalCode, stderr: this.#stderr };
  }

  /** Ends berthd and removes everything of it. */
  async remove(): Promise<void> {
    if (this.#process) await this.end('SIGKILL');
    try {
      execFileSync('umount', [join(this.directory, 'run', 'containers')], { stdio: 'ignore' });
    } catch {
      // It had not come so far.
    }
    rmSync(this.directory, { recursive: true });
  }
}

/** One connection that speaks frames. */
export class TestClient {
  readonly closed: Promise<unknown>;
  readonly #reader = new FrameReader(REPLY_LIMIT);
  readonly #replies: v1.Reply[] = [];
  #wake: () => void = () => undefined;
  #ended = false;

  private constructor(readonly socket: Socket) {
    // Also where the connection was reset: once() would fail.
    this.closed = new Promise((resolve) => socket.once('close', resolve));
    socket.on('data', (chunk: Buffer) => {
      this.#replies.push(...this.#reader.push(chunk).map(decodeReply));
      this.#wake();
    });
    socket.once('close', () => {
      this.#ended = true;
      this.#wake();
    });
    socket.on('error', () => undefined);
  }

  static async open(path: string): Promise<TestClient> {
    const socket = connect(path);
    await once(socket, 'connect');
    return new TestClient(socket);
  }

  send(body: Parameters<typeof encodeRequest>[0]): void {
    this.socket.write(frame(encodeRequest(body)));
  }

  /** The next reply; undefined when the connection ended instead. */
  async reply(): Promise<v1.Reply | undefined> {
    while (this.#replies.length === 0 && !this.#ended) {
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
    return this.#replies.shift();
  }

  async ask(body: Parameters<typeof encodeRequest>[0]): Promise<v1.Reply | undefined> {
    this.send(body);
    return this.reply();
  }
}
