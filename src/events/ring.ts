import type { NodeEvent } from './event.js';

/** An event as it is kept: written once, whoever reads it. */
export interface Entry {
  readonly type: NodeEvent['type'];
  /** Whose it is; undefined for the node's own. */
  readonly uid: number | undefined;
  /** A JSON object. */
  readonly text: string;
}

/** The last entries, numbered from 1 on: never more than so many, and so many bytes. */
export class Ring {
  readonly #entries: (Entry | undefined)[];
  #first = 1;
  #next = 1;
  #bytes = 0;

  constructor(
    private readonly mostEntries: number,
    private readonly mostBytes: number,
  ) {
    this.#entries = Array.from({ length: mostEntries });
  }

  /** The number of the oldest entry that is kept; that of the next one, where none is. */
  get first(): number {
    return this.#first;
  }

  /** The number that the next entry will have. */
  get next(): number {
    return this.#next;
  }

  /** Bytes of what is kept. */
  get bytes(): number {
    return this.#bytes;
  }

  /** The oldest make room. An entry that alone is too large is numbered and forgotten. */
  append(entry: Entry): void {
    if (this.#next - this.#first === this.mostEntries) this.#dropFirst();
    this.#entries[this.#next % this.mostEntries] = entry;
    this.#next++;
    this.#bytes += sizeOf(entry);
    while (this.#bytes > this.mostBytes) this.#dropFirst();
  }

  /** Undefined where it is forgotten, or there is none yet. */
  at(number: number): Entry | undefined {
    return number >= this.#first && number < this.#next ? this.#entries[number % this.mostEntries] : undefined;
  }

  #dropFirst(): void {
    const index = this.#first % this.mostEntries;
    const entry = this.#entries[index];
    this.#entries[index] = undefined;
    this.#first++;
    if (entry) this.#bytes -= sizeOf(entry);
  }
}

function sizeOf({ text }: Entry): number {
  return Buffer.byteLength(text);
}
