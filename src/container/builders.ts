import { builderExecutable } from '../native/index.js';
import { BuilderProcess } from './builder-process.js';

/** Milliseconds from a launch until the next builder is started: by then its ranks run, and need the processors no more. */
const PAUSE = 500;

/**
 * Where builders come from. With a spare one a launch does not wait for a program to start, which on a busy node takes
 * as long as building: see docs/adr/0014.
 */
export class Builders {
  #spare: BuilderProcess | undefined;
  #keepsSpare = false;
  #starting: NodeJS.Timeout | undefined;

  constructor(private readonly executable = builderExecutable) {}

  /** From now on one builder waits for the next launch, and ends with this process. */
  keepSpare(): void {
    this.#keepsSpare = true;
    this.#replenish();
  }

  /** Ends the spare builder, and keeps none any more. */
  end(): void {
    this.#keepsSpare = false;
    clearTimeout(this.#starting);
    this.#starting = undefined;
    this.#spare?.end(false);
    this.#spare = undefined;
  }

  /**
   * A builder that nobody else has.
   *
   * @throws NativeError when none can be started.
   */
  async take(): Promise<BuilderProcess> {
    const spare = this.#spare;
    this.#spare = undefined;
    if (this.#keepsSpare) this.#replenish();
    if (spare?.isThere) return spare;
    // Somebody has killed it.
    spare?.end(false);
    return BuilderProcess.start(this.executable);
  }

  #replenish(): void {
    this.#starting ??= setTimeout(() => {
      this.#starting = undefined;
      void this.#start();
    }, PAUSE);
  }

  /** A failure is the next launch's to tell, which tries again. */
  async #start(): Promise<void> {
    const started = await BuilderProcess.start(this.executable).catch(() => undefined);
    if (!this.#keepsSpare || this.#spare) started?.end(false);
    else this.#spare = started;
  }
}
