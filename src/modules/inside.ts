import type { Files } from './mpi/search.js';

/** A container that is built and not handed out yet. */
export interface Inside {
  /** Its files, opened with its user's rights and no others. */
  readonly files: Files;
  /** LD_LIBRARY_PATH as the image has it. */
  readonly searchPath: readonly string[];
}

/** Looks whether a container is as a module needs it. What it throws is why no program is started in there. */
export type ContainerCheck = (inside: Inside) => Promise<void>;
