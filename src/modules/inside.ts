import type { CdiHook } from './cdi/specification.js';
import type { Files } from './mpi/search.js';

/** A container that is built and not handed out yet. */
export interface Inside {
  /** Its files, opened with its user's rights and no others. */
  readonly files: Files;
  /** LD_LIBRARY_PATH as the image has it. */
  readonly searchPath: readonly string[];
  /** The same for containers whose files are the same for good; undefined where they may change. */
  readonly identity: string | undefined;
}

/** Looks whether a container is as a module needs it. */
export interface ContainerCheck {
  readonly module: string;
  /** @throws BerthError why no program is started in there. */
  readonly run: (inside: Inside) => Promise<void>;
}

/** What has to be done once a container is built, before a program is started in it. */
export interface Afterwards {
  readonly checks: readonly ContainerCheck[];
  /** Programs to run for it, with its user's rights. */
  readonly hooks: readonly CdiHook[];
}
