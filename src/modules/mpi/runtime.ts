/**
 * Libraries of the C and C++ runtimes. Programs and libraries of a container share these, and the dynamic linker belongs to
 * its libc: they are always the image's.
 */
const RUNTIME =
  /^(?:ld-linux[a-z0-9_-]*|ld64|libc|libm|libmvec|libpthread|libdl|librt|libresolv|libutil|libanl|libnsl|libnss_\w+|libgcc_s|libstdc\+\+|libgfortran|libquadmath|libgomp|libatomic|linux-vdso)\.so/;

export function isRuntime(name: string): boolean {
  return RUNTIME.test(name);
}

/** Versions such as GLIBC_2.36, in the order in which they came to be. */
export function compareVersions(a: string, b: string): number {
  const [left, right] = [a, b].map((version) => (version.match(/\d+/g) ?? []).map(Number));
  for (let i = 0; i < Math.max(left?.length ?? 0, right?.length ?? 0); i++) {
    const difference = (left?.[i] ?? 0) - (right?.[i] ?? 0);
    if (difference !== 0) return difference;
  }
  return 0;
}

/** The highest version of a family, e.g. GLIBC_2.36; undefined where there is none. */
export function highest(versions: readonly string[], family: string): string | undefined {
  return versions
    .filter((version) => version.startsWith(`${family}_`) && /_\d/.test(version))
    .toSorted(compareVersions)
    .at(-1);
}
