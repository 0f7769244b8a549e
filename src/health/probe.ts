import { closeSync, existsSync, openSync, readFileSync } from 'node:fs';
import { Socket } from 'node:net';
import { dirname, join } from 'node:path';
import { getSystemErrorName } from 'node:util';
import { systemWords } from '../errors/index.js';
import { builderExecutable, native, type Builder } from '../native/index.js';
import { frame, FrameReader } from '../protocol/index.js';

/** Milliseconds that a question may take unless told otherwise: less than a check may, which has to say what it found. */
const LIMIT = 3_000;

/** Most bytes of an answer unless told otherwise. */
const MOST = 1024 * 1024;

/** Questions that are asked at a time, each a process: native/probe/main.c has room for twice as many. */
const MOST_AT_ONCE = 32;

/** Files and bytes that are read in one question. */
const MOST_FILES = 1000;
const MOST_CONTENT = 16 * 1024 * 1024;

/** stat(2): the type and permission bits; statvfs(2): ST_RDONLY. */
const TYPE_MASK = 0o170000;
const DIRECTORY = 0o040000;
const REGULAR = 0o100000;
const LINK = 0o120000;
const ST_RDONLY = 1;

/** Longest frame of the probe, in bytes: a chunk of 64 KiB and its head. */
const FRAME_LIMIT = 128 * 1024;

/** When to look whether the ended probe can be reaped, in milliseconds from one look to the next. */
const REAP_DELAYS = [1, 5, 20, 100, 500];

/** Beside the builder. */
const probeExecutable = join(dirname(builderExecutable), 'berth-probe');

/** What came of a question that was not answered. */
export class ProbeFailure extends Error {
  constructor(
    /** `silent`: nothing in time; `failed`: a system call said no, see `code`. */
    readonly kind: 'silent' | 'failed',
    message: string,
    /** Symbolic errno, e.g. "ENOENT". */
    readonly code?: string,
  ) {
    super(message);
  }
}

export interface Asked {
  /** Milliseconds. */
  readonly limit?: number;
  /** Bytes. */
  readonly most?: number;
}

/** How a program ended. */
export interface Ran {
  readonly status: number;
  readonly output: string;
}

/** stat(2) and statfs(2) of a path. */
export interface PathFacts {
  readonly mode: number;
  readonly uid: number;
  readonly isDirectory: boolean;
  readonly readOnly: boolean;
  /** Bytes; what only root may use does not count as free. */
  readonly size: number;
  readonly free: number;
  /** Inodes; 0 where the file system has no limit. */
  readonly files: number;
  readonly freeFiles: number;
}

export interface FileContent {
  readonly path: string;
  /** Undefined when it could not be read: then `code` is the symbolic errno. */
  readonly content: string | undefined;
  readonly code?: string;
}

export interface Files {
  /** How many files match, however many were read. */
  readonly matches: number;
  readonly files: readonly FileContent[];
}

/** lstat(2) of a file. */
export interface Listed {
  readonly path: string;
  readonly type: 'file' | 'directory' | 'link' | 'other';
  /** Permission bits. */
  readonly mode: number;
  readonly uid: number;
  /** Bytes. */
  readonly size: number;
  /** Seconds since it was changed. */
  readonly age: number;
}

interface Stuck {
  readonly pid: number;
  readonly start: string;
  readonly since: Date;
}

/**
 * Questions that did not end although their process was killed: they wait in the kernel for something that never comes.
 * They are remembered as long as they are there, and not asked again.
 */
export class StuckQuestions {
  readonly #stuck = new Map<string, Stuck>();

  /** Since when the question is stuck; undefined when it is not, or no longer. */
  since(question: string): Date | undefined {
    const stuck = this.#stuck.get(question);
    if (!stuck) return undefined;
    if (startOf(stuck.pid) === stuck.start) return stuck.since;
    this.#stuck.delete(question);
    return undefined;
  }

  add(question: string, pid: number, start: string): void {
    this.#stuck.set(question, { pid, start, since: new Date() });
  }

  /** Is a process one of ours that is known to be stuck? */
  has(pid: number, start: string): boolean {
    return [...this.#stuck.values()].some((stuck) => stuck.pid === pid && stuck.start === start);
  }
}

/** Field 22 of /proc/PID/stat; undefined when there is no such process. */
function startOf(pid: number): string | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
    return stat.slice(stat.lastIndexOf(')') + 2).split(' ')[19];
  } catch {
    return undefined;
  }
}

const ENDED = 'berth-probe has ended';

interface Running {
  readonly child: Builder;
  readonly socket: Socket;
}

interface Question {
  readonly key: string;
  readonly chunks: Buffer[];
  readonly settle: (end: string) => void;
}

/**
 * A berth-probe, started with the first question and ended with the session, or with the last answer after it: which
 * questions are stuck has to be known, though nobody waits for them any more. Whatever it is asked, it answers in time.
 */
export class ProbeSession {
  readonly #questions = new Map<number, Question>();
  readonly #facts = new Map<string, Promise<PathFacts>>();
  #running: Promise<Running> | undefined;
  #isClosed = false;
  #next = 1;
  #asking = 0;
  /** Who waits for others to be answered. */
  readonly #waiting: (() => void)[] = [];

  constructor(
    private readonly stuck: StuckQuestions,
    /** A mount namespace for `enter`; stays the caller's. */
    private readonly namespace?: number,
  ) {}

  /** @throws ProbeFailure */
  async ask(verb: string, words: readonly string[], asked: Asked = {}): Promise<Buffer> {
    const { status, output } = await this.#ask(verb, words, asked);
    if (status === 0) return output;
    const [call = verb, object = '', errno = ''] = output.toString().trimEnd().split('\n');
    if (status !== 1) throw new ProbeFailure('failed', output.toString().trim() || `${verb} ended with ${status}`);
    const code = getSystemErrorName(-Number(errno));
    throw new ProbeFailure('failed', `${call}: ${object}: ${systemWords(code)}`, code);
  }

  /**
   * A program of the node with this environment, and its standard output and error.
   *
   * @throws ProbeFailure when it does not end in time, or is ended by a signal.
   */
  async run(argv: readonly string[], asked: Asked = {}, env: readonly string[] = environment()): Promise<Ran> {
    const { status, output } = await this.#ask('run', [String(env.length), ...env, ...argv], asked);
    return { status, output: output.toString() };
  }

  /** What the file system at a path says, asked once in a session. */
  stat(path: string): Promise<PathFacts> {
    const asked = this.#facts.get(path) ?? this.ask('stat', [path]).then(factsOf);
    this.#facts.set(path, asked);
    return asked;
  }

  /** The path without symbolic links. */
  async real(path: string): Promise<string> {
    return new Fields(await this.ask('real', [path])).word();
  }

  /** Files that match any of the patterns, sorted, with their content: at most `take` of them, after `skip`. */
  async read(patterns: readonly string[], skip = 0, take = MOST_FILES): Promise<Files> {
    const fields = new Fields(await this.ask('cat', [String(skip), String(take), ...patterns], { most: MOST_CONTENT }));
    const matches = Number(fields.word());
    const files: FileContent[] = [];
    while (fields.more()) {
      const path = fields.word();
      const length = Number(fields.word());
      if (length >= 0) files.push({ path, content: fields.bytes(length).toString() });
      else files.push({ path, content: undefined, code: getSystemErrorName(-Number(fields.word())) });
    }
    return { matches, files };
  }

  /** Files that match the first pattern, sorted; then those of the next. */
  async list(...patterns: readonly string[]): Promise<Listed[]> {
    const fields = new Fields(await this.ask('list', patterns, { most: MOST_CONTENT }));
    const files: Listed[] = [];
    while (fields.more()) {
      const path = fields.word();
      const bits = parseInt(fields.word(), 8);
      const [uid = 0, size = 0, age = 0] = [fields.word(), fields.word(), fields.word()].map(Number);
      files.push({ path, type: typeOf(bits), mode: bits & 0o7777, uid, size, age });
    }
    return files;
  }

  /** A pidfd of the probe: a process in berthd's own namespaces, for as long as the session. */
  async pidfd(): Promise<number> {
    return (await this.#start()).child.pidfd;
  }

  /** What is asked from now on fails. */
  close(): void {
    this.#isClosed = true;
    this.#endIfIdle();
  }

  #endIfIdle(): void {
    if (!this.#isClosed || this.#asking > 0) return;
    const running = this.#running;
    this.#running = undefined;
    void running?.then(
      ({ child, socket }) => {
        socket.destroy();
        void reap(child);
      },
      () => undefined,
    );
  }

  async #ask(verb: string, words: readonly string[], { limit = LIMIT, most = MOST }: Asked): Promise<Answer> {
    const key = [verb, ...words].join('\0');
    const since = this.stuck.since(key);
    if (since) throw new ProbeFailure('silent', `no answer since ${since.toISOString()}, and not asked again`);
    if (this.#asking === MOST_AT_ONCE) await new Promise<void>((resolve) => this.#waiting.push(resolve));
    else this.#asking++;
    const chunks: Buffer[] = [];
    let end: string;
    try {
      const { socket } = await this.#start();
      if (socket.destroyed) throw new ProbeFailure('failed', ENDED);
      const id = this.#next++;
      end = await new Promise<string>((settle) => {
        this.#questions.set(id, { key, chunks, settle });
        socket.write(frame(Buffer.from([id, limit, most, verb, ...words].map((word) => `${word}\0`).join(''))));
      });
    } finally {
      // Whoever waits longest takes this place.
      const next = this.#waiting.shift();
      if (next) next();
      else this.#asking--;
      this.#endIfIdle();
    }
    const [how, first = '', second = '', third = ''] = end.split(' ');
    // It has left a process behind that cannot be killed: what it told counts, and it is not asked again either.
    if (third !== '') this.stuck.add(key, Number(second), third);
    if (how === 'exit') return { status: Number(first), output: Buffer.concat(chunks) };
    if (how === 'stuck') this.stuck.add(key, Number(first), second);
    if (how === 'stuck' || how === 'timeout') throw new ProbeFailure('silent', `no answer within ${limit / 1000} s`);
    if (how === 'flood') throw new ProbeFailure('failed', `it wrote more than ${most} bytes`);
    throw new ProbeFailure('failed', `it was ended by signal ${first}`);
  }

  async #start(): Promise<Running> {
    if (this.#isClosed) throw new ProbeFailure('failed', ENDED);
    this.#running ??= this.#spawn();
    return this.#running;
  }

  async #spawn(): Promise<Running> {
    const descriptor = this.namespace ?? openSync('/dev/null', 'r');
    try {
      const child = await native.spawnBuilder(probeExecutable, descriptor);
      const socket = new Socket({ fd: child.socket, readable: true, writable: true });
      const reader = new FrameReader(FRAME_LIMIT);
      socket.on('data', (chunk: Buffer) => {
        for (const bytes of reader.push(chunk)) this.#take(bytes);
      });
      socket.on('error', () => undefined);
      socket.once('close', () => {
        for (const { settle } of this.#questions.values()) settle('signal 9');
        this.#questions.clear();
      });
      return { child, socket };
    } finally {
      if (this.namespace === undefined) closeSync(descriptor);
    }
  }

  #take(bytes: Buffer): void {
    const id = bytes.readUInt32BE(0);
    const question = this.#questions.get(id);
    if (!question) return;
    const body = bytes.subarray(5);
    if (bytes[4] === 'd'.charCodeAt(0)) {
      question.chunks.push(body);
    } else {
      this.#questions.delete(id);
      question.settle(body.toString());
    }
  }
}

function factsOf(output: Buffer): PathFacts {
  const [mode = '', ...rest] = output.toString().trim().split(' ');
  const [uid = 0, , , flags = 0, blockSize = 0, blocks = 0, available = 0, files = 0, freeFiles = 0] = rest.map(Number);
  const bits = parseInt(mode, 8);
  return {
    mode: bits & 0o7777,
    uid,
    isDirectory: (bits & TYPE_MASK) === DIRECTORY,
    readOnly: (flags & ST_RDONLY) !== 0,
    size: blocks * blockSize,
    free: available * blockSize,
    files,
    freeFiles,
  };
}

function typeOf(bits: number): Listed['type'] {
  if ((bits & TYPE_MASK) === DIRECTORY) return 'directory';
  if ((bits & TYPE_MASK) === LINK) return 'link';
  return (bits & TYPE_MASK) === REGULAR ? 'file' : 'other';
}

/** The pattern that only this path matches (glob(7)). */
export function literally(path: string): string {
  return path.replace(/[*?[\]\\]/g, '\\$&');
}

/** The probe's output: words ended by NUL, and bytes whose number a word has told. */
class Fields {
  #at = 0;

  constructor(private readonly output: Buffer) {}

  more(): boolean {
    return this.#at < this.output.length;
  }

  word(): string {
    const end = this.output.indexOf(0, this.#at);
    const stop = end < 0 ? this.output.length : end;
    const word = this.output.toString('utf8', this.#at, stop);
    this.#at = stop + 1;
    return word;
  }

  bytes(length: number): Buffer {
    const bytes = this.output.subarray(this.#at, this.#at + length);
    this.#at += length;
    return bytes;
  }
}

interface Answer {
  readonly status: number;
  readonly output: Buffer;
}

/** What programs of the node need to know. */
function environment(): string[] {
  const path = process.env['PATH'] ?? '/usr/sbin:/usr/bin:/sbin:/bin';
  const slurm = process.env['SLURM_CONF'];
  return [`PATH=${path}`, 'LC_ALL=C', ...(slurm === undefined ? [] : [`SLURM_CONF=${slurm}`])];
}

async function reap(child: Builder): Promise<void> {
  for (let look = 0; !native.reap(child.pidfd); look++) {
    const delay = REAP_DELAYS[Math.min(look, REAP_DELAYS.length - 1)] ?? 0;
    await new Promise((resolve) => setTimeout(resolve, delay).unref());
    if (delay >= 100) native.signal(child.pidfd, 9);
  }
  native.close(child.pidfd);
}

/** Is the executable there that all this needs? */
export function probeInstalled(): boolean {
  return existsSync(probeExecutable);
}
