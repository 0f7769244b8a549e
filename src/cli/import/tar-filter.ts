import { Transform, type TransformCallback } from 'node:stream';
import { layersByName, type LayersTransport } from './layers.js';
import { BLOCK, HeaderFault, isZero, paxSize, parseHeader, type Header } from './tar-header.js';

/** Longest pax header or GNU long name, in bytes: extended attributes, each of up to 64 kB, fit. */
const METADATA_LIMIT = 16 * 1024 * 1024;
/** How many names at the top are remembered, to see what kind of archive it is. */
const TOP_LIMIT = 1000;

/** What the archive is not, in words for the user. */
export class ArchiveFault extends Error {
  constructor(
    message: string,
    /** Did it show only when the stream had ended? Then what made the stream may be at fault. */
    readonly atEnd: boolean,
  ) {
    super(message);
  }
}

/** It is a good archive, but of an image in layers, which is imported another way. */
export class LayersFound extends Error {
  constructor(
    /** skopeo's name for such archives. */
    readonly transport: LayersTransport,
  ) {
    super('it holds an image in layers (docker save)');
  }
}

/** What happens to the bytes that come next. */
interface Body {
  remaining: number;
  readonly action: 'pass' | 'drop' | 'collect';
}

/**
 * Passes a tar archive on without its device nodes, up to its end mark, and fails where it is damaged or stops early.
 * Looks only at headers: content goes through as it comes.
 *
 * Containers bring their own /dev, and images are mounted without devices; this keeps nodes that could never work out
 * of the image. What comes after the end mark is read and dropped, so that the archive's maker can finish.
 */
export class TarFilter extends Transform {
  /** Entries passed on. */
  entries = 0;
  /** Device nodes left out. */
  devices = 0;
  readonly #top = new Set<string>();
  #position = 0;
  #partial: Buffer = Buffer.alloc(0);
  #body: Body | undefined;
  /** Headers and contents that describe the next entry: pax headers and long names. */
  #pending: Buffer[] = [];
  #pendingBytes = 0;
  /** The metadata header whose content is being collected. */
  #metadata: Header | undefined;
  #collected: Buffer[] = [];
  /** The size that a pax header gives the next entry. */
  #size: number | undefined;
  /** A GNU sparse header has said that blocks of its map follow; then comes this much content. */
  #sparse: number | undefined;
  #ended = false;

  override _transform(chunk: Buffer, _encoding: BufferEncoding, callback: TransformCallback): void {
    try {
      this.#take(chunk);
      callback();
    } catch (error) {
      callback(this.#explain(error));
    }
  }

  override _flush(callback: TransformCallback): void {
    const fault = this.#faultAtEnd();
    const layers = this.#layersAtEnd();
    if (fault !== undefined) callback(new ArchiveFault(fault, true));
    else if (layers !== undefined) callback(new LayersFound(layers));
    // The end mark: two blocks of zeros.
    else callback(null, Buffer.alloc(2 * BLOCK));
  }

  #faultAtEnd(): string | undefined {
    if (!this.#ended) return `it stops after ${this.#position} bytes, before its end: it was cut short`;
    return this.entries === 0 ? 'the archive has no entries' : undefined;
  }

  #take(chunk: Buffer): void {
    let rest = this.#partial.length === 0 ? chunk : Buffer.concat([this.#partial, chunk]);
    this.#partial = Buffer.alloc(0);
    while (rest.length > 0 && !this.#ended) {
      if (this.#body) {
        rest = this.#content(this.#body, rest);
      } else if (rest.length < BLOCK) {
        this.#partial = Buffer.from(rest);
        return;
      } else {
        this.#header(rest.subarray(0, BLOCK));
        this.#position += BLOCK;
        rest = rest.subarray(BLOCK);
      }
    }
  }

  #content(body: Body, bytes: Buffer): Buffer {
    const part = bytes.subarray(0, body.remaining);
    body.remaining -= part.length;
    this.#position += part.length;
    if (body.action === 'pass') this.push(part);
    else if (body.action === 'collect') this.#collected.push(Buffer.from(part));
    if (body.remaining === 0) {
      this.#body = undefined;
      if (body.action === 'collect') this.#finishMetadata();
    }
    return bytes.subarray(part.length);
  }

  #header(block: Buffer): void {
    if (this.#sparse !== undefined) {
      this.#sparseMap(block, this.#sparse);
      return;
    }
    if (isZero(block)) {
      if (this.#pending.length > 0) throw new HeaderFault('a header for an entry that does not follow');
      this.#ended = true;
      return;
    }
    const header = parseHeader(block);
    if ('xgLK'.includes(header.type)) this.#beginMetadata(header, block);
    else this.#entry(header, block);
  }

  #beginMetadata(header: Header, block: Buffer): void {
    this.#pendingBytes += BLOCK + padded(header.size);
    if (this.#pendingBytes > METADATA_LIMIT) throw new HeaderFault(`a header of ${header.size} bytes`);
    this.#pending.push(Buffer.from(block));
    if (header.size === 0) return;
    this.#metadata = header;
    this.#body = { remaining: padded(header.size), action: 'collect' };
  }

  #finishMetadata(): void {
    const content = Buffer.concat(this.#collected);
    this.#collected = [];
    this.#pending.push(content);
    const { type, size } = this.#metadata ?? { type: '', size: 0 };
    if (type === 'x') this.#size = paxSize(content.subarray(0, size)) ?? this.#size;
    else if (type === 'g' && paxSize(content.subarray(0, size)) !== undefined)
      throw new HeaderFault('one size for all entries');
  }

  #entry(header: Header, block: Buffer): void {
    const { type } = header;
    if (!'01234567S'.includes(type)) throw new HeaderFault(`an entry of the unknown type ${JSON.stringify(type)}`);
    const device = type === '3' || type === '4';
    if (device) {
      this.devices++;
    } else {
      for (const part of this.#pending) this.push(part);
      this.push(Buffer.from(block));
      this.entries++;
      this.#remember(header.name);
    }
    this.#pending = [];
    this.#pendingBytes = 0;
    // Links, directories and the like have no content, whatever some programs write into their size.
    const size = '07S'.includes(type) ? padded(this.#size ?? header.size) : 0;
    this.#size = undefined;
    if (type === 'S' && header.extended) this.#sparse = size;
    else if (size > 0) this.#body = { remaining: size, action: 'pass' };
  }

  #sparseMap(block: Buffer, size: number): void {
    this.push(Buffer.from(block));
    // The last byte that means anything says whether another such block follows.
    if ((block[504] ?? 0) !== 0) return;
    this.#sparse = undefined;
    if (size > 0) this.#body = { remaining: size, action: 'pass' };
  }

  #remember(name: string): void {
    const parts = name.split('/').filter((part) => part !== '' && part !== '.');
    const layers = layersByName(name);
    if (layers) throw new LayersFound(layers);
    const [first] = parts;
    if (first !== undefined && this.#top.size < TOP_LIMIT) this.#top.add(first);
  }

  #layersAtEnd(): LayersTransport | undefined {
    const has = (name: string): boolean => this.#top.has(name);
    if (['bin', 'usr', 'etc', 'lib'].some(has)) return undefined;
    if (has('manifest.json')) return 'docker-archive';
    return has('oci-layout') ? 'oci-archive' : undefined;
  }

  #explain(error: unknown): Error {
    if (error instanceof HeaderFault)
      return new ArchiveFault(`it is damaged at byte ${this.#position}: ${error.message}`, false);
    return error instanceof Error ? error : new Error(String(error));
  }
}

function padded(size: number): number {
  return Math.ceil(size / BLOCK) * BLOCK;
}
