import { reasonOf } from '../../errors/index.js';
import type { Contribution, PlannedMount } from '../../options/index.js';
import { v1 } from '../../protocol/index.js';
import type { ContainerCheck } from '../inside.js';
import type { ModuleMpi } from '../module.js';
import { cannotUse, originOf, type ModuleUse } from '../use.js';
import { checkMpi } from './check.js';
import { HostFault, type HostMpi, type HostMpiFinder } from './host.js';

/** Where the host's MPI is in a container. */
export const MPI_DIRECTORY = '/.berth/mpi/lib';

export interface MpiContribution extends Contribution {
  readonly checks: readonly ContainerCheck[];
}

/**
 * The host's MPI, in a directory of its own that the dynamic linker looks into first: what the image has is not covered, and
 * none of its other libraries is replaced by what the host's MPI does not need.
 *
 * @throws BerthError BERTH_MODULE_HOST
 */
export async function mpiOf(use: ModuleUse, mpi: ModuleMpi, finder: HostMpiFinder): Promise<MpiContribution> {
  const host = await hostOf(use, mpi, finder);
  const mounts = [
    ...[...host.dependencies, ...host.libraries].map(([name, { path }]) =>
      mountAt(use, path, `${MPI_DIRECTORY}/${name}`),
    ),
    // These are looked for where they were installed.
    ...mpi.components.map((directory) => mountAt(use, directory, directory)),
  ];
  const { KIND_PREPEND } = v1.EnvironmentChange.Kind;
  const environment = { kind: KIND_PREPEND, name: 'LD_LIBRARY_PATH', value: MPI_DIRECTORY, separator: ':' };
  const { name: module } = use.module;
  return {
    mounts,
    files: [],
    environment: [{ origin: originOf(use), message: environment }],
    checks: [
      {
        module,
        run: async ({ files, searchPath, identity }) => {
          if (finder.hasPassed(host, identity)) return;
          await checkMpi({ module, host, check: mpi.check }, files, searchPath);
          finder.notePassed(host, identity);
        },
      },
    ],
  };
}

async function hostOf(use: ModuleUse, mpi: ModuleMpi, finder: HostMpiFinder): Promise<HostMpi> {
  try {
    return await finder.find(mpi);
  } catch (error) {
    if (error instanceof HostFault) throw cannotUse(use, reasonOf(error), error);
    throw error;
  }
}

function mountAt(use: ModuleUse, source: string, destination: string): PlannedMount {
  return {
    origin: originOf(use),
    message: { kind: v1.BuildMount.Kind.KIND_BIND, source, destination, readOnly: true },
  };
}
