/** What bench/main.ts knows of a bench, and what it lends to one. */

/** Says on stderr what is being done. */
export type Progress = (text: string) => void;

export interface Bench {
  /** One line, for the list of all benches. */
  readonly subject: string;
  /** For --help. */
  readonly usage: string;
  /**
   * Measures and gives the report. Removes everything it made, also when the signal is aborted.
   * @throws UsageError for a wrong command line, before anything is done
   */
  run(argv: readonly string[], signal: AbortSignal, say: Progress): Promise<string>;
}
