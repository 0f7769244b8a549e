/** A manual page, from which `--help` and the pages for man(1) are both made. */
export interface ManualPage {
  /** What is called, as "berth pull", or a file's name. */
  readonly name: string;
  /** One line. */
  readonly summary: string;
  /** Whole lines. */
  readonly synopsis: readonly string[];
  /** In their order, after the synopsis. One without entries is left out. */
  readonly sections: readonly Section[];
}

export interface Section {
  /** In capitals. */
  readonly title: string;
  readonly entries: readonly Entry[];
  /** The column, counted from the terms', in which what is said about a term begins on the same line. Below it otherwise. */
  readonly beside?: number;
}

/** A paragraph, or a term and what is said about it. */
export type Entry = string | { readonly term: string; readonly text: string };
