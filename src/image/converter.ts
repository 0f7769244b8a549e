import { spawn } from 'node:child_process';
import { availableParallelism } from 'node:os';
import { converterExecutable } from '../native/index.js';
import { isDigest } from './digest.js';
import { isCount, isJsonObject, parseJson } from './record.js';

/**
 * Whom the converter runs as: a number that distributions and systemd leave unused (they hand out 61184 to 65519, and
 * 65534 is nobody). Not nobody, because other services of a host run as that, and a process may trace one of its own
 * user: it could take over the descriptor that an image is written through.
 */
export const CONVERTER_UID = 65520;
export const CONVERTER_GID = 65520;

/** More compressors than this gain little: one thread reads the archive. */
const MOST_JOBS = 8;
/** Address space, in bytes: the converter's peak is 256 MiB of memory, and its threads reserve more than they use. */
const MEMORY_LIMIT = 4 * 1024 ** 3;
/** How much of the converter's answer, and of what else it says, is kept: characters. */
const ANSWER_LIMIT = 64 * 1024;
const MESSAGE_LIMIT = 4000;

/** What is demanded of an archive. Sizes are in bytes. */
export interface Demands {
  /** zstd's, 1 to 22. */
  readonly compressionLevel: number;
  /** Of its unpacked files, and how many of them; without a bound where it is left out. */
  readonly mostBytes?: number | undefined;
  readonly mostEntries?: number | undefined;
  /** Of the archive as it is sent, and of the tar archive in it. */
  readonly blobDigest?: string;
  readonly blobSize?: number;
  readonly diffId?: string;
}

/** What the converter made. Sizes are in bytes. */
export interface Made {
  readonly entries: number;
  readonly deviceNodes: number;
  /** Of all files in it. */
  readonly bytes: number;
  /** Of the file that was written. */
  readonly size: number;
}

export interface MadeLayer extends Made {
  readonly diffId: string;
}

export interface MadeImage extends Made {
  /** Of the file that was written. */
  readonly digest: string;
}

/**
 * Whose fault it is: the archive's (damaged, or not what its digest says), that of its size, the store's, a layer file's;
 * or nobody's who could mend it.
 */
export type Blame = 'archive' | 'digest' | 'limit' | 'storage' | 'layer' | 'internal';

export interface Failed {
  readonly ok: false;
  readonly blame: Blame;
  readonly why: string;
  /** Of the system call that failed, where one did. */
  readonly errno?: number;
}

export type Conversion<T> = { readonly ok: true; readonly made: T } | Failed;

/**
 * Converts a layer: a tar archive, compressed in whatever way, to a layer file.
 *
 * @param archive a descriptor to read from; the caller's to close.
 * @param output a descriptor of an empty file, to read and write; the caller's to close.
 * @param signal ends the converter when it is aborted.
 */
export function convertLayer(
  archive: number,
  output: number,
  demands: Demands,
  signal?: AbortSignal,
): Promise<Conversion<MadeLayer>> {
  return convert('layer', archive, [output], options(demands), isMadeLayer, signal);
}

/** As {@link convertLayer}, but the result is a squashfs file. */
export function convertImage(
  archive: number,
  output: number,
  demands: Demands,
  signal?: AbortSignal,
): Promise<Conversion<MadeImage>> {
  return convert('image', archive, [output], options(demands), isMadeImage, signal);
}

/**
 * Puts a squashfs file together from layer files.
 *
 * @param layers descriptors of them, the lowest first; the caller's to close, as is `output`.
 */
export function assembleImage(
  layers: readonly number[],
  output: number,
  signal?: AbortSignal,
): Promise<Conversion<MadeImage>> {
  const argv = layers.flatMap((_, at) => ['--layer', String(FIRST_FILE + 1 + at)]);
  return convert('assemble', undefined, [output, ...layers], argv, isMadeImage, signal);
}

/** The converter's first descriptor after the standard ones: what it writes to. */
const FIRST_FILE = 3;

/**
 * Runs berth-converter.
 *
 * An archive is a stranger's input to C++, so that program is confined: a user of its own, without capabilities or the way
 * to any, in namespaces of its own for processes, network and IPC, and with a /proc where it sees only itself. All it can
 * write is the one file that was given to it. It dies with this process.
 *
 * When this resolves, every process of it is gone: unshare(1) waits for the first process of the process namespace, and
 * the kernel ends that one last. Nobody is left then who could hold the file open for writing.
 */
function convert<T>(
  mode: 'layer' | 'image' | 'assemble',
  archive: number | undefined,
  files: readonly number[],
  more: readonly string[],
  isMade: (value: unknown) => value is T,
  signal?: AbortSignal,
): Promise<Conversion<T>> {
  const [program = '', ...argv] = [
    ...confinement(),
    converterExecutable,
    mode,
    '--output',
    String(FIRST_FILE),
    ...more,
  ];
  return new Promise((resolve) => {
    const child = spawn(program, argv, {
      cwd: '/',
      env: { PATH: '/usr/sbin:/usr/bin:/sbin:/bin', LC_ALL: 'C' },
      stdio: [archive ?? 'ignore', 'pipe', 'pipe', ...files],
    });
    let answer = '';
    let said = '';
    child.stdout?.setEncoding('utf8').on('data', (text: string) => {
      answer = (answer + text).slice(0, ANSWER_LIMIT);
    });
    child.stderr?.setEncoding('utf8').on('data', (text: string) => {
      said = (said + text).slice(-MESSAGE_LIMIT);
    });
    const abort = (): void => {
      child.kill('SIGKILL');
    };
    const finish = (conversion: Conversion<T>): void => {
      signal?.removeEventListener('abort', abort);
      resolve(conversion);
    };
    if (signal?.aborted) abort();
    else signal?.addEventListener('abort', abort);
    child.once('error', (error) => {
      finish({ ok: false, blame: 'internal', why: `${program} could not be started: ${error.message}` });
    });
    // "close" comes after "exit", when all processes that could speak are gone.
    child.once('close', (status, killedBy) => {
      const value = parseJson(answer);
      if (status === 0 && isMade(value)) finish({ ok: true, made: value });
      else finish(failure(value) ?? { ok: false, blame: 'internal', why: reason(said, status, killedBy) });
    });
  });
}

function options({ compressionLevel, mostBytes, mostEntries, blobDigest, blobSize, diffId }: Demands): string[] {
  const jobs = Math.min(availableParallelism(), MOST_JOBS);
  const given = {
    '--level': compressionLevel,
    '--jobs': jobs,
    '--most-bytes': mostBytes,
    '--most-entries': mostEntries,
    '--blob-digest': blobDigest,
    '--blob-size': blobSize,
    '--diff-id': diffId,
  };
  return Object.entries(given).flatMap(([name, value]) => (value === undefined ? [] : [name, String(value)]));
}

function confinement(): string[] {
  return [
    ...['setpriv', '--pdeathsig', 'KILL'],
    ...['prlimit', '--core=0', `--as=${MEMORY_LIMIT}`],
    // A node that imports may be running somebody's job.
    ...['nice', '-n', '10'],
    // --mount-proc gives it a mount namespace too; "slave" lets what the host unmounts meanwhile go.
    ...['unshare', '--net', '--ipc', '--pid', '--mount-proc', '--propagation', 'slave', '--fork', '--kill-child=KILL'],
    ...['setpriv', `--reuid=${CONVERTER_UID}`, `--regid=${CONVERTER_GID}`, '--clear-groups', '--no-new-privs'],
    // Changing the user has cleared the death signal that --kill-child had set.
    ...['--inh-caps=-all', '--bounding-set=-all', '--pdeathsig', 'KILL'],
  ];
}

const BLAMES: readonly string[] = ['archive', 'digest', 'limit', 'storage', 'layer', 'internal'] satisfies Blame[];

function failure(value: unknown): Failed | undefined {
  if (!isJsonObject(value)) return undefined;
  const { error, why, errno } = value;
  if (typeof why !== 'string' || !isBlame(error)) return undefined;
  // getSystemErrorName(3) takes no others.
  const known = isCount(errno) && errno > 0 && errno < 4096;
  return { ok: false, blame: error, why, ...(known && { errno }) };
}

function isBlame(value: unknown): value is Blame {
  return typeof value === 'string' && BLAMES.includes(value);
}

function isMade(value: unknown): value is Made {
  if (!isJsonObject(value)) return false;
  return [value['entries'], value['deviceNodes'], value['bytes'], value['size']].every(isCount);
}

function isMadeLayer(value: unknown): value is MadeLayer {
  return isMade(value) && 'diffId' in value && typeof value.diffId === 'string' && isDigest(value.diffId);
}

function isMadeImage(value: unknown): value is MadeImage {
  return isMade(value) && 'digest' in value && typeof value.digest === 'string' && isDigest(value.digest);
}

function reason(said: string, status: number | null, killedBy: NodeJS.Signals | null): string {
  const lines = said
    .split('\n')
    .map((line) => line.trim())
    // unshare(1) of util-linux 2.38 stumbles over its own signal mask when its child was killed.
    .filter((line) => line !== '' && !line.startsWith('unshare: sigprocmask'));
  if (lines.length > 0) return `the converter said: ${lines.slice(-3).join('; ')}`;
  const end = killedBy ?? (status !== null && status > 128 ? `signal ${status - 128}` : undefined);
  return `the converter was ended from outside${end === undefined ? '' : ` by ${end}`}: was the node short of memory?`;
}
