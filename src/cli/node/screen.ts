import type { ReadStream, WriteStream } from 'node:tty';

/** The alternate screen, without a cursor; and back. */
const ENTER = '\x1b[?1049h\x1b[?25l';
const LEAVE = '\x1b[?25h\x1b[?1049l';

/** Home; clear to the end of a line, and of the screen. */
const HOME = '\x1b[H';
const CLEAR_LINE = '\x1b[K';
const CLEAR_REST = '\x1b[J';

/** What ends it: q, Ctrl-C, Ctrl-D, Escape alone. */
const QUIT = new Set(['q', 'Q', '\x03', '\x04', '\x1b']);

const SIGNALS = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;

/** A terminal's whole screen, until its user has seen enough. */
export class Screen {
  readonly quit: Promise<void>;
  readonly #leave: () => void;
  #isOpen = false;

  constructor(
    private readonly input: ReadStream,
    private readonly output: WriteStream,
  ) {
    let leave = (): void => undefined;
    this.quit = new Promise((resolve) => (leave = resolve));
    this.#leave = leave;
  }

  /** Takes the screen and the keys. */
  begin(resized: () => void): void {
    this.#isOpen = true;
    this.input.setEncoding('utf8').setRawMode(true).resume().on('data', this.#key);
    for (const signal of SIGNALS) process.on(signal, this.#leave);
    this.output.on('resize', resized).write(ENTER);
  }

  get size(): { readonly width: number; readonly height: number } {
    return { width: this.output.columns, height: this.output.rows };
  }

  draw(lines: readonly string[]): void {
    if (!this.#isOpen) return;
    this.output.write(`${HOME}${lines.map((line) => `${line}${CLEAR_LINE}`).join('\r\n')}${CLEAR_REST}`);
  }

  /** Gives the terminal back as it was. */
  close(): void {
    if (!this.#isOpen) return;
    this.#isOpen = false;
    this.input.off('data', this.#key).setRawMode(false).pause();
    for (const signal of SIGNALS) process.off(signal, this.#leave);
    this.output.removeAllListeners('resize').write(LEAVE);
  }

  readonly #key = (text: string): void => {
    if (QUIT.has(text)) this.#leave();
  };
}
