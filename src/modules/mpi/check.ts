import { BerthError } from '../../errors/index.js';
import type { HostMpi, Need } from './host.js';
import { compareVersions, highest } from './runtime.js';
import { LibrarySearch, type Files, type FoundLibrary } from './search.js';

/** Libraries of MPI, as programs ask for them: MPICH's and Open MPI's. */
const MPI_NAME = /^lib(?:mpi|mpich)\.so\.\d+$/;

/** What is compared, and who is told. */
export interface MpiCheck {
  readonly module: string;
  readonly host: HostMpi;
  readonly check: 'version' | 'soname';
}

/**
 * Does the host's MPI fit a container? Its libraries must have the names, and at least the versions, of the image's own, and
 * must need nothing of the image's libc and its like that these do not have.
 *
 * @param container as its user sees it, with the modules' mounts: nothing in it is followed with other rights.
 * @param searchPath LD_LIBRARY_PATH of the image, which it would find its own MPI by
 * @throws BerthError BERTH_MPI_ABI, BERTH_MPI_GLIBC
 */
export async function checkMpi(
  { module, host, check }: MpiCheck,
  container: Files,
  searchPath: readonly string[],
): Promise<void> {
  const search = new LibrarySearch(container, searchPath);
  const theirs = await Promise.all(
    [...host.libraries].map(async ([name, ours]) => ({ name, ours, image: await search.find(name) })),
  );
  const both = theirs.flatMap(({ name, ours, image }) => (image ? [{ name, ours, image }] : []));
  if (both.length === 0) await refuseOtherMpi(module, host, search);
  for (const { name, ours, image } of both) {
    const why = misfit(name, ours, image, check);
    if (why !== undefined) throw misfitError(module, ours, image, why);
  }
  await checkRuntime(module, host, search);
}

/** An image that has an MPI, and none of this kind: its programs would go on using that, or not start. */
async function refuseOtherMpi(module: string, host: HostMpi, search: LibrarySearch): Promise<void> {
  const known = [...(await search.names()).keys()].filter((name) => MPI_NAME.test(name)).sort();
  // Those that its LD_LIBRARY_PATH leads to are not in the linker's cache.
  const names = [...known, 'libmpi.so.12', 'libmpi.so.40', 'libmpich.so.12'].filter(
    (name) => !host.libraries.has(name),
  );
  for (const name of names) {
    const image = await search.find(name);
    const ours = [...host.libraries.values()][0];
    if (!image || !ours) continue;
    throw misfitError(module, ours, image, `programs of the image ask for ${name}, which has another ABI`);
  }
}

function misfit(
  name: string,
  ours: FoundLibrary,
  image: FoundLibrary,
  check: 'version' | 'soname',
): string | undefined {
  if (ours.machine !== image.machine) return 'they are for different processors';
  if (check === 'soname') return undefined;
  const [have, want] = [ours, image].map(({ file }) => interfaceVersion(file));
  if (have === undefined || want === undefined || have >= want) return undefined;
  return `as ${name}, the image's has interfaces up to ${want}, the host's only up to ${have}`;
}

/** libtool writes NAME.so.MAJOR.AGE.REVISION: AGE counts the interfaces that were added (libtool's manual, 7.3). */
function interfaceVersion(file: string): number | undefined {
  const [, age] = /\.so\.\d+\.(\d+)\.\d+$/.exec(file) ?? [];
  return age === undefined ? undefined : Number(age);
}

function misfitError(module: string, ours: FoundLibrary, image: FoundLibrary, why: string): BerthError {
  return new BerthError('BERTH_MPI_ABI', { module, ours: ours.file, theirs: image.file, why });
}

async function checkRuntime(module: string, { needs, libraries }: HostMpi, search: LibrarySearch): Promise<void> {
  const machine = [...libraries.values()][0]?.machine;
  for (const [library, ofLibrary] of groupBy(needs)) {
    // The dynamic linker comes with libc.
    if (library.startsWith('ld')) continue;
    const found = await search.find(library);
    const missing = ofLibrary.filter(({ version }) => !found?.defines.includes(version));
    const [worst] = missing.toSorted((a, b) => compareVersions(b.version, a.version));
    if (found && found.machine === machine && worst === undefined) continue;
    const { version, by } = worst ?? { version: library, by: 'the host' };
    const family = version.replace(/_.*/, '');
    const has = found ? (highest(found.defines, family) ?? `no ${family}`) : `no ${library}`;
    throw new BerthError('BERTH_MPI_GLIBC', { module, version, library, by, has });
  }
}

function groupBy(needs: readonly Need[]): Map<string, Need[]> {
  const groups = new Map<string, Need[]>();
  for (const need of needs) groups.set(need.library, [...(groups.get(need.library) ?? []), need]);
  return groups;
}
