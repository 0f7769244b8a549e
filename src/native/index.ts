import { existsSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type * as Native from 'berth-native';

export type {
  Account,
  Builder,
  FileStatus,
  ImageMount,
  NativeError,
  OpenedFile,
  Packet,
  PeerCredentials,
} from 'berth-native';

const here = dirname(fileURLToPath(import.meta.url));

/** Beside the bundled daemon, or where the build puts it as seen from the sources. */
const places = [join(here, 'berth.node'), join(here, '..', '..', 'build', 'lib', 'berth.node')];

function load(): typeof Native {
  const path = places.find((place) => existsSync(place));
  if (path === undefined) throw new Error(`the addon berth.node is not in ${places.join(' or ')}: run npm run build`);
  return createRequire(import.meta.url)(path) as typeof Native;
}

/** The addon: native/native.d.ts describes it. */
export const native: typeof Native = load();

/** The executables of this addon: builder, opener of files, maker of caches' files, packer and saver of containers, asker for devices, starter of FUSE servers, converter. */
export const builderExecutable: string = executable('berth-builder');
export const openerExecutable: string = executable('berth-opener');
export const cachefileExecutable: string = executable('berth-cachefile');
export const packerExecutable: string = executable('berth-packer');
export const saverExecutable: string = executable('berth-saver');
export const entrypointExecutable: string = executable('berth-entrypoint');
export const shifterExecutable: string = executable('berth-shifter');
export const devicesExecutable: string = executable('berth-devices');
export const fuseServerExecutable: string = executable('berth-fuse-server');
export const converterExecutable: string = executable('berth-converter');

function executable(name: string): string {
  const beside = join(here, name);
  const found = [join(here, '..', 'bin', name), beside, join(here, '..', '..', 'build', 'bin', name)];
  return found.find((place) => existsSync(place)) ?? beside;
}

/** Is this an error of the addon, and of this errno where one is given? */
export function isNativeError(error: unknown, code?: string): error is Native.NativeError {
  return (
    error instanceof Error &&
    'syscall' in error &&
    'object' in error &&
    'code' in error &&
    (code === undefined || error.code === code)
  );
}
