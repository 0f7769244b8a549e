import { toErrorMessage } from '../../errors/index.js';
import { count, jsonText, plain, size as showSize, type Terminal } from '../terminal.js';
import { Rate } from './rate.js';

/** How progress is shown: by what watches, as JSON lines on standard output, or not at all. */
export type ProgressMode = 'auto' | 'json' | 'none';

export interface BlobState {
  readonly digest: string;
  /** In bytes. */
  readonly size: number;
  readonly received: number;
  /** Converted, or known from before. */
  readonly stored: boolean;
}

/** How often it is shown, in milliseconds: to people, into a log, to programs. */
const INTERVALS = { terminal: 200, log: 5000, json: 1000 } as const;
/** Characters of the bar that stands for a layer. */
const BAR = 24;

/** What a pull has come to, and its way to whoever watches. It is looked at while something moves, and only then. */
export class Progress {
  readonly #style: keyof typeof INTERVALS | undefined;
  readonly #blobs = new Map<string, BlobState>();
  readonly #rate = new Rate();
  #phase: 'finding' | 'waiting' | 'fetching' | 'converting' = 'finding';
  #who = '';
  /** Are the blobs fetched by this pull? */
  #isOwn = false;
  #timer: NodeJS.Timeout | undefined;
  #sample: () => void = () => undefined;

  constructor(
    private readonly name: string,
    private readonly terminal: Terminal,
    mode: ProgressMode,
  ) {
    if (mode === 'json') this.#style = 'json';
    else if (mode === 'auto') this.#style = terminal.watched ? 'terminal' : 'log';
  }

  /** What was fetched for this pull, in bytes; what somebody else has fetched does not count. */
  get fetched(): number {
    return this.#isOwn ? this.#received() : 0;
  }

  get blobs(): readonly BlobState[] {
    return [...this.#blobs.values()];
  }

  /** The image is looked for. */
  finding(): void {
    if (this.#style === 'terminal') this.terminal.progress(`${this.name}: asking the registry`);
  }

  /** Somebody else pulls the same. */
  waiting(who: string): void {
    const isNew = this.#phase !== 'waiting' || this.#who !== who;
    this.#phase = 'waiting';
    this.#who = plain(who);
    this.#run(() => undefined);
    if (isNew) this.#tell({ event: 'waiting', who }, `${this.name}: ${this.#who} pulls it already; waiting for that`);
  }

  /** What somebody else's pull has come to. */
  others(blobs: readonly BlobState[]): void {
    this.#isOwn = false;
    this.#blobs.clear();
    for (const blob of blobs) this.#blobs.set(blob.digest, blob);
    this.#rate.observe(this.#received());
  }

  /**
   * These are fetched now.
   *
   * @param sample is called before each look; it says through {@link received} how far they are.
   */
  fetching(blobs: readonly { readonly digest: string; readonly size: number }[], sample: () => void): void {
    if (!this.#isOwn) {
      this.#blobs.clear();
      this.#rate.restart();
    }
    this.#isOwn = true;
    this.#phase = 'fetching';
    for (const { digest, size } of blobs) this.#blobs.set(digest, { digest, size, received: 0, stored: false });
    this.#run(sample);
    const { size } = this.#totals();
    const layers = count(this.#blobs.size, 'blob');
    this.#tell(
      { event: 'start', name: this.name, blobs: this.blobs, size },
      `${this.name}: ${layers}, ${showSize(size)}`,
    );
  }

  received(digest: string, bytes: number): void {
    const blob = this.#blobs.get(digest);
    if (blob && !blob.stored) this.#blobs.set(digest, { ...blob, received: bytes });
  }

  stored(digest: string): void {
    const blob = this.#blobs.get(digest);
    if (blob) this.#blobs.set(digest, { ...blob, received: blob.size, stored: true });
  }

  /** What is about to be tried again, and why. */
  again(digest: string, why: string, seconds: number): void {
    this.received(digest, 0);
    this.#tell(
      { event: 'retry', digest, why, seconds },
      `${this.name}: ${shortDigest(digest)} is fetched again in ${seconds} s: ${why}`,
      true,
    );
  }

  /** All is there; the image is put together. */
  converting(): void {
    this.#phase = 'converting';
    this.#run(() => undefined);
    this.#tell({ event: 'converting' }, `${this.name}: putting the image together`);
  }

  /** It ends with this error; people are told that elsewhere. */
  failed(error: unknown): void {
    if (this.#style !== 'json') return;
    const { code, exitStatus, what, why, hint } = toErrorMessage(error);
    this.terminal.print(jsonText({ event: 'error', code, exitStatus, what, why, hint }));
  }

  /** Nothing moves any more. */
  stop(): void {
    clearInterval(this.#timer);
    this.#timer = undefined;
    this.terminal.progress('');
  }

  #run(sample: () => void): void {
    this.#sample = sample;
    if (this.#style === undefined) return;
    this.#timer ??= setInterval(() => {
      this.#show();
    }, INTERVALS[this.#style]);
  }

  /** What happens once, and is not part of a line that is drawn anew. */
  #tell(event: Readonly<Record<string, unknown>>, text: string, always = false): void {
    if (this.#style === 'json') this.terminal.print(jsonText(event));
    else if (this.#style === 'log' || (always && this.#style !== undefined)) this.terminal.warn(text);
    if (this.#style === 'terminal') this.#show();
  }

  #show(): void {
    this.#sample();
    this.#rate.observe(this.#received());
    switch (this.#style) {
      case 'terminal':
        this.terminal.progress([...this.#bars(), this.#line()].join('\n'));
        return;
      case 'log':
        if (this.#phase !== 'converting' && this.#blobs.size > 0) this.terminal.warn(this.#line());
        return;
      case 'json':
        this.terminal.print(jsonText({ event: 'progress', phase: this.#phase, ...this.#numbers() }));
        return;
      case undefined:
        return;
    }
  }

  #numbers(): Readonly<Record<string, unknown>> {
    const { received, size } = this.#totals();
    const rate = this.#rate.perSecond();
    return {
      ...(this.#phase === 'waiting' ? { who: this.#who } : {}),
      received,
      size,
      bytesPerSecond: Math.round(rate),
      secondsLeft: rate > 0 ? Math.ceil((size - received) / rate) : null,
      blobs: this.blobs,
    };
  }

  /** One line for each layer that is on its way. */
  #bars(): string[] {
    return this.blobs
      .filter(({ received, stored }) => received > 0 && !stored)
      .map(({ digest, received, size }) => {
        const done = Math.round((BAR * received) / Math.max(size, 1));
        const state = received < size ? `${showSize(received)} of ${showSize(size)}` : `${showSize(size)}, converting`;
        return `  ${shortDigest(digest)} [${'='.repeat(done)}${' '.repeat(BAR - done)}] ${state}`;
      });
  }

  #line(): string {
    const { received, size } = this.#totals();
    if (this.#phase === 'converting') return `${this.name}: putting the image together`;
    const stored = this.blobs.filter((blob) => blob.stored).length;
    const rate = this.#rate.perSecond();
    const parts = [
      ...(this.#phase === 'waiting' ? [`${this.#who} pulls it`] : []),
      ...(this.#blobs.size === 0 ? [] : [`${stored} of ${this.#blobs.size} done`]),
      ...(size === 0 ? [] : [`${showSize(received)} of ${showSize(size)}`]),
      ...(rate > 0 && received < size ? [`${showSize(rate)}/s`, `${timeLeft((size - received) / rate)} left`] : []),
    ];
    return `${this.name}: ${parts.join(', ')}`;
  }

  #totals(): { received: number; size: number } {
    let size = 0;
    for (const blob of this.#blobs.values()) size += blob.size;
    return { received: this.#received(), size };
  }

  #received(): number {
    let received = 0;
    for (const blob of this.#blobs.values()) received += Math.min(blob.received, blob.size);
    return received;
  }
}

/** Twelve digits, as docker shows them. */
function shortDigest(digest: string): string {
  return digest.slice('sha256:'.length, 'sha256:'.length + 12);
}

/** "42 s", "3:07 min", "1:02 h". */
export function timeLeft(seconds: number): string {
  const whole = Math.ceil(seconds);
  const two = (value: number): string => String(Math.floor(value)).padStart(2, '0');
  if (whole < 60) return `${whole} s`;
  if (whole < 3600) return `${Math.floor(whole / 60)}:${two(whole % 60)} min`;
  return `${Math.floor(whole / 3600)}:${two((whole % 3600) / 60)} h`;
}
