/** What is asked of a container, as options of srun besides its image. */
import { modules } from './modules.js';
import { MOST_MOUNTS, volumeOption } from './volumes.js';

export interface Asked {
  readonly id: string;
  readonly title: string;
  readonly options: readonly string[];
  /** Whether it is to keep to what Berth promises of cold launches. Of mounts, each ten have a promise of their own. */
  readonly promised: boolean;
}

function asked(id: string, title: string, ...options: readonly string[]): Asked {
  return { id, title, options, promised: true };
}

function mounts(count: number): Asked {
  return { ...asked(String(count), `with ${count} bind mounts`, volumeOption(count)), promised: false };
}

/** The first is a container of which nothing is asked. */
export const ASKED: readonly Asked[] = [
  asked('plain', 'with a plain container'),
  mounts(10),
  mounts(50),
  mounts(MOST_MOUNTS),
  asked('module', 'with a module: a mount, variables', `--module=${modules.small}`),
  asked('mpi', "with a module: the node's Open MPI", `--module=${modules.mpi}`),
  asked('root', 'with --container-remap-root', '--container-remap-root'),
  asked('writable', 'with --container-writable', '--container-writable'),
  asked('both', 'with both', '--container-remap-root', '--container-writable'),
];
