import { closeSync } from 'node:fs';
import { makePipe, type Pipe } from '../../../src/cli/import/pipe.js';
import { RemoteError } from '../../../src/errors/index.js';
import { v1 } from '../../../src/protocol/index.js';
import { TestClient } from './daemon.js';
import { readBlob } from './layouts.js';

/** What to pull from an OCI layout, and how. */
export interface PullOptions {
  /** Digest of the manifest, and of an index that has it. */
  readonly manifest: string;
  readonly index?: string;
  readonly name?: string;
  readonly everyone?: boolean;
  readonly uid?: number;
}

/** A puller that speaks the protocol and no more: the blobs come from an OCI layout. */
export class PullClient {
  readonly #pipes: Pipe[] = [];

  private constructor(
    readonly client: TestClient,
    private readonly layout: string,
  ) {}

  static async open(socket: string, layout: string): Promise<PullClient> {
    return new PullClient(await TestClient.open(socket), layout);
  }

  /** A whole pull; returns all events, DONE last. */
  static async pull(socket: string, layout: string, options: PullOptions): Promise<v1.PullEvent[]> {
    const puller = await PullClient.open(socket, layout);
    try {
      puller.request(options);
      return await puller.finish();
    } finally {
      puller.close();
    }
  }

  request({ manifest, index = '', name = '', everyone = false, uid = 0 }: PullOptions): void {
    const manifestFd = this.pipeOf(readBlob(this.layout, manifest));
    const indexFd = index === '' ? 0 : this.pipeOf(readBlob(this.layout, index));
    const source = 'docker://a.test/of/pulls';
    this.client.send({ pull: { name, source, manifest, manifestFd, index, indexFd, everyone, uid } });
  }

  /**
   * The next event.
   *
   * @throws RemoteError berthd's error; Error when it closed the connection.
   */
  async event(): Promise<v1.PullEvent> {
    const reply = await this.client.reply();
    if (!reply) throw new Error('berthd closed the connection');
    if (reply.error) {
      const { code, exitStatus, what, why, hint } = reply.error;
      throw new RemoteError({
        code: code ?? '',
        exitStatus: exitStatus ?? 1,
        what: what ?? '',
        why: why ?? '',
        hint: hint ?? '',
      });
    }
    if (!reply.pull) throw new Error(`berthd gave no event: ${JSON.stringify(reply)}`);
    return new v1.PullEvent(reply.pull);
  }

  /** Events up to the first of a kind. */
  async until(kind: v1.PullEvent.Kind): Promise<v1.PullEvent[]> {
    const events: v1.PullEvent[] = [];
    for (;;) {
      const event = await this.event();
      events.push(event);
      if (event.kind === kind) return events;
    }
  }

  /** Sends a blob, right or wrong. */
  blob(digest: string, content = readBlob(this.layout, digest)): void {
    this.client.send({ pullBlob: { digest, fd: this.pipeOf(content) } });
  }

  end(digest: string, failed = false): void {
    this.client.send({ blobEnd: { digest, failed } });
  }

  /** Sends what is wanted, until the end. */
  async finish(): Promise<v1.PullEvent[]> {
    const events: v1.PullEvent[] = [];
    for (;;) {
      const event = await this.event();
      events.push(event);
      if (event.kind === v1.PullEvent.Kind.KIND_DONE) return events;
      if (event.kind !== v1.PullEvent.Kind.KIND_WANTED) continue;
      for (const digest of wantedOf([event])) {
        this.blob(digest);
        this.end(digest);
      }
    }
  }

  /** A descriptor to read the content from. Without content it gives nothing, and does not end. */
  pipeOf(content?: Buffer): number {
    const pipe = makePipe();
    this.#pipes.push(pipe);
    pipe.writeEnd.on('error', () => undefined);
    if (content) pipe.writeEnd.end(content);
    return pipe.readEnd;
  }

  close(): void {
    for (const { readEnd, writeEnd } of this.#pipes) {
      writeEnd.destroy();
      closeSync(readEnd);
    }
    this.#pipes.length = 0;
    this.client.socket.destroy();
  }
}

/** "WANTED", "DONE", … of events, for comparing. */
export function kindsOf(events: readonly v1.PullEvent[]): string[] {
  return events.map(({ kind }) => v1.PullEvent.Kind[kind].replace('KIND_', ''));
}

/** Digests of the blobs that were wanted. */
export function wantedOf(events: readonly v1.PullEvent[]): string[] {
  const wanted = events.filter(({ kind }) => kind === v1.PullEvent.Kind.KIND_WANTED);
  return wanted.flatMap(({ blobs }) => blobs.map(({ digest }) => digest ?? ''));
}
