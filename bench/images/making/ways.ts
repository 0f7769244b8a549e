/** The ways from an image in a registry to a squashfs file, and what they have in common. */
import type { Compression } from '../converter.js';
import type { Tag } from './source-image.js';

/** Where a way works and from what. */
export interface Place {
  /** HOST:PORT/REPOSITORY in a registry that speaks plain HTTP. */
  readonly repository: string;
  /** Its own, empty directory, on the disk that is watched. */
  readonly directory: string;
  readonly compression: Compression;
  readonly processors: number;
  readonly signal: AbortSignal;
}

/** What a pull took, in milliseconds, by the programs that were run one after the other. */
export type Phases = Readonly<Record<string, number>>;

/** A way at work. What it has pulled before may serve it again. */
export interface Session {
  /** Processes whose memory and time count, besides those that a pull starts. */
  readonly daemons: readonly number[];
  /** From the registry to a squashfs file that is ready to be mounted. */
  pull(tag: Tag): Promise<Phases>;
  /** Removes what nobody needs once the squashfs file is there. Not timed. */
  tidy(): Promise<void>;
  /** Bytes of the squashfs file that was made last, of this tag. */
  imageSize(tag: Tag): Promise<number>;
  end(): Promise<void>;
}

export interface Way {
  readonly id: string;
  readonly title: string;
  begin(place: Place): Promise<Session>;
}
