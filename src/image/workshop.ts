import type { Layout } from './layout.js';
import type { Owner } from './temporary.js';

/** Where images are made, by whom, and within what bounds. */
export interface Workshop {
  readonly layout: Layout;
  readonly self: Owner;
  /** zstd's, 1 to 22. */
  readonly compressionLevel: number;
  /** Of an image: bytes of its files, and how many of them. Without a bound where it is left out. */
  readonly mostBytes?: number | undefined;
  readonly mostEntries?: number | undefined;
}
